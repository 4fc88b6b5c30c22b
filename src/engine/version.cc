#include "engine/version.h"

#include "base/check.h"
#include "engine/device_loop.h"

namespace sluice::engine {

EngineVersion::EngineVersion(std::unique_ptr<Engine> engine, DeviceLoop& loop,
                             Histograms histograms)
    : engine_(std::move(engine)),
      loop_(&loop),
      statistics_(std::make_unique<Statistics>(engine_->description().batch_rows_max,
                                               std::move(histograms))) {}

base::Result<std::shared_ptr<const EngineVersion>> EngineVersion::Create(
    std::unique_ptr<Engine> engine, DeviceLoop& loop, Retire retire, Histograms histograms) {
  CHECK(engine != nullptr && retire);
  std::unique_ptr<EngineVersion> version(
      new EngineVersion(std::move(engine), loop, std::move(histograms)));
  auto seat = std::make_unique<Seat>();
  seat->version = version.get();
  seat->engine = version->engine_.get();
  seat->statistics = version->statistics_.get();
  for (int slot = 0; slot < loop.slots(); ++slot) {
    seat->steps.push_back(seat->engine->MakeStep(slot));
    seat->steps.back()->slot = slot;
  }
  TRY(loop.Attach(*seat));
  version->seat_ = std::move(seat);
  return std::shared_ptr<const EngineVersion>(
      version.release(), [retire = std::move(retire)](const EngineVersion* last) {
        retire(std::unique_ptr<EngineVersion>(const_cast<EngineVersion*>(last)));
      });
}

EngineVersion::~EngineVersion() {
  if (seat_ != nullptr) loop_->Detach(*seat_);
}

}  // namespace sluice::engine
