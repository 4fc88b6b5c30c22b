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
  double mean_length = 0;         // of the sequences in the model's traffic; 0: all are as long
};

struct Opened {
  std::shared_ptr<const graph::Model> model;
  std::vector<tensor::Shape> shapes;        // one an input, padded
  std::shared_ptr<const graph::Plan> plan;  // what serving runs: over packed rows where it can
  std::vector<int64_t> lengths;             // of the sequences in packed rows; empty: padded
  OpenSizes sizes;
};

// `path`: a file, or a version folder with model.onnx in it.
base::Result<Opened> OpenForLooking(const std::string& path, const OpenSizes& sizes,
                                    const graph::CompileOptions& compile = {});
// A model that is loaded already. Where requests run as packed rows, all sequences of the batch are
// packed into one run; `mean_length` spreads their lengths, short ones more often than long ones.
base::Result<Opened> OpenForLooking(std::shared_ptr<const graph::Model> model,
                                    const OpenSizes& sizes);

// The model input that the plan's input `at` is filled from; -1: what packs its rows.
int ModelInput(const Opened& opened, size_t at);

// Seeded values for each input of the plan: floats around zero; integers that index a table drawn
// by Zipf's law over its rows, others 0, or 1 where the name says mask.
base::Result<std::vector<tensor::Tensor>> SyntheticInputs(const Opened& opened);

}  // namespace sluice::report
