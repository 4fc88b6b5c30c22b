// Loads models for the server: the bridge from the repository to the engines and their loop. A
// version folder with a config.json is a language model, any other an imported graph.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "engine/device_loop.h"
#include "infer/served_model.h"
#include "serve/repository/model_loader.h"
#include "tensor/ledger.h"

namespace sluice::bin {

// Called on the load thread, as ModelLoader says. `loop`, `ledger` and what `defaults` points to
// outlive every version; what a model's configuration says goes before the defaults.
class EngineLoader : public serve::ModelLoader {
 public:
  // `weights`: the form of models that name none (WeightFormName); empty: as `sluice quantize`
  // chose, else f32.
  EngineLoader(engine::DeviceLoop& loop, tensor::Ledger& ledger, infer::Options defaults,
               std::string weights)
      : loop_(loop),
        ledger_(ledger),
        defaults_(std::move(defaults)),
        weights_(std::move(weights)) {}

  base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const serve::ModelSource& source, engine::EngineVersion::Retire retire) override;

 private:
  engine::DeviceLoop& loop_;
  tensor::Ledger& ledger_;
  const infer::Options defaults_;
  const std::string weights_;
};

}  // namespace sluice::bin
