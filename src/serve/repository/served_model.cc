#include "serve/repository/served_model.h"

#include <algorithm>

namespace sluice::serve {

namespace {

void Subtract(engine::CountTime& from, const engine::CountTime& what) {
  from.count -= what.count;
  from.ns -= what.ns;
}

}  // namespace

engine::Statistics::Snapshot ServedModel::Counts() const {
  engine::Statistics::Snapshot now = engine->statistics().snapshot();
  now.inference_count -= at_start.inference_count;
  now.execution_count -= at_start.execution_count;
  if (now.inference_count == 0) now.last_inference_ms = 0;
  Subtract(now.success, at_start.success);
  Subtract(now.fail, at_start.fail);
  Subtract(now.queue, at_start.queue);
  Subtract(now.input, at_start.input);
  Subtract(now.infer, at_start.infer);
  Subtract(now.output, at_start.output);
  for (const engine::Statistics::Batch& early : at_start.batches) {
    for (engine::Statistics::Batch& batch : now.batches) {
      if (batch.rows != early.rows) continue;
      Subtract(batch.input, early.input);
      Subtract(batch.infer, early.infer);
      Subtract(batch.output, early.output);
    }
  }
  auto empty = [](const engine::Statistics::Batch& batch) { return batch.infer.count == 0; };
  now.batches.erase(std::remove_if(now.batches.begin(), now.batches.end(), empty),
                    now.batches.end());
  return now;
}

}  // namespace sluice::serve
