// Tensors in and out of Python without copies: NumPy arrays, DLPack capsules, lists of strings. All
// functions need the GIL.
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "base/result.h"
#include "graph/model.h"
#include "tensor/tensor.h"

namespace sluice::python {

// The elements of `value` where they lie when it is a packed NumPy array or a host tensor with
// __dlpack__; the tensor keeps `value` alive. Copied: strided arrays, lists (which take the
// input's type) and strings. `input`: what the model declares, null for text.
// kInvalidArgument names the input.
base::Result<tensor::Tensor> FromPython(const std::string& name, pybind11::handle value,
                                        const graph::TensorInterface* input);

// A NumPy array over the tensor's memory, kept alive by the array. Strings come as objects; types
// that NumPy lacks as Tensor.
pybind11::object ToPython(const tensor::Tensor& tensor);

// Adds the class Tensor.
void DefineTensor(pybind11::module_& module);

}  // namespace sluice::python
