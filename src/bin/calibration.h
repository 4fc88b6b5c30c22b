// Calibration data of `sluice quantize`: requests for a model and, if known, what their answers
// should have been. Read from JSON or from NumPy's .npz.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace sluice::bin {

struct Calibration {
  std::vector<std::vector<tensor::Tensor>> requests;  // each one tensor a model input, in its order
  std::vector<float> labels;                          // one a row over all requests, or none
  int64_t row_count = 0;
};

// `path` ends in .npz: arrays by the names of the model's inputs, not compressed (np.savez), cut
// into requests of 64 rows where every input has rows; the array `labels` holds the labels. Else
// JSON: one request of the Open Inference Protocol, or {"requests": [...]}, with "labels": [...]
// beside. Dtypes narrower or wider than the model's integers are converted. kInvalidArgument says
// what is missing or does not fit.
base::Result<Calibration> ReadCalibration(const std::string& path, const std::string& labels,
                                          const graph::Model& model);

}  // namespace sluice::bin
