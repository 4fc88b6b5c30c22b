// Loads imported graphs for the server: the bridge from the repository to the infer engine and its
// loop.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "engine/device_loop.h"
#include "infer/planner.h"
#include "serve/repository/model_loader.h"
#include "tensor/ledger.h"

namespace sluice::bin {

// Called on the load thread, as ModelLoader says. `loop`, `ledger` and `planner` outlive every
// version.
class InferLoader : public serve::ModelLoader {
 public:
  // `weights`: the form of models that name none (WeightFormName); empty: as `sluice quantize`
  // chose, else f32.
  InferLoader(engine::DeviceLoop& loop, tensor::Ledger& ledger, infer::Planner& planner,
              std::string weights)
      : loop_(loop), ledger_(ledger), planner_(planner), weights_(std::move(weights)) {}

  base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const serve::ModelSource& source, engine::EngineVersion::Retire retire) override;

 private:
  engine::DeviceLoop& loop_;
  tensor::Ledger& ledger_;
  infer::Planner& planner_;
  const std::string weights_;
};

}  // namespace sluice::bin
