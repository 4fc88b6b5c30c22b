// Loads imported graphs for the server: the bridge from the repository to the infer engine and its
// loop.
#pragma once

#include <memory>

#include "engine/device_loop.h"
#include "infer/planner.h"
#include "serve/repository/model_loader.h"
#include "tensor/ledger.h"

namespace sluice::bin {

// Called on the load thread, as ModelLoader says. `loop`, `ledger` and `planner` outlive every
// version.
class InferLoader : public serve::ModelLoader {
 public:
  InferLoader(engine::DeviceLoop& loop, tensor::Ledger& ledger, infer::Planner& planner)
      : loop_(loop), ledger_(ledger), planner_(planner) {}

  base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const serve::ModelSource& source, engine::EngineVersion::Retire retire) override;

 private:
  engine::DeviceLoop& loop_;
  tensor::Ledger& ledger_;
  infer::Planner& planner_;
};

}  // namespace sluice::bin
