// A model file opened for looking at: `explain` and `profile` give its open dimensions sizes and
// run it on synthetic inputs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "bin/flags.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace sluice::bin {

// Sizes for open dimensions.
struct OpenSizes {
  int64_t batch = 1;              // of dimension 0
  int64_t length = 32;            // of the others that have no size of their own
  std::vector<std::string> dims;  // "NAME=N": by the dimension's name in the model
};
void AddSizeFlags(OpenSizes& sizes, std::vector<Flag>& flags);

struct OpenModel {
  std::shared_ptr<const graph::Model> model;
  std::vector<tensor::Shape> shapes;  // one an input
  std::shared_ptr<const graph::Plan> plan;
};

// `path`: a file, or a version folder with model.onnx in it.
base::Result<OpenModel> OpenForLooking(const std::string& path, const OpenSizes& sizes);

// Seeded values for each input: floats around zero; integers 0, or 1 where the name says mask.
base::Result<std::vector<tensor::Tensor>> SyntheticInputs(const OpenModel& open);

}  // namespace sluice::bin
