// A model file opened for looking at: its open dimensions have sizes, and there is a plan for them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace sluice::report {

// Sizes for open dimensions.
struct OpenSizes {
  int64_t batch = 1;              // of dimension 0
  int64_t length = 32;            // of the others that have no size of their own
  std::vector<std::string> dims;  // "NAME=N": by the dimension's name in the model
};

struct Opened {
  std::shared_ptr<const graph::Model> model;
  std::vector<tensor::Shape> shapes;  // one an input
  std::shared_ptr<const graph::Plan> plan;
  OpenSizes sizes;
};

// `path`: a file, or a version folder with model.onnx in it.
base::Result<Opened> OpenForLooking(const std::string& path, const OpenSizes& sizes,
                                    const graph::CompileOptions& compile = {});
// A model that is loaded already.
base::Result<Opened> OpenForLooking(std::shared_ptr<const graph::Model> model,
                                    const OpenSizes& sizes);

// Seeded values for each input: floats around zero; integers that index a table drawn by Zipf's law
// over its rows, others 0, or 1 where the name says mask.
base::Result<std::vector<tensor::Tensor>> SyntheticInputs(const Opened& opened);

}  // namespace sluice::report
