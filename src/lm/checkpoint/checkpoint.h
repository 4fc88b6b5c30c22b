// The tensors of a language model's checkpoint, by the names that Hugging Face's transformers gives
// them, whatever file they come from.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/packing.h"
#include "tensor/block_format.h"
#include "tensor/tensor.h"

namespace sluice::lm {

// A weight as its file keeps it: rows of blocks, the last extent innermost.
struct StoredTensor {
  tensor::BlockFormat format = tensor::BlockFormat::kF32;
  tensor::Shape shape;
  tensor::Buffer buffer;
  // Whether it lies in a mapped file, whose pages may be let go when it has been read.
  bool mapped = false;
};

// Immutable; the tensors that it gives live as long as their buffers.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // kNotFound when there is none of that name.
  virtual base::Result<tensor::Tensor> Find(const std::string& name) const = 0;
  // The same of a weight that may lie in blocks; by default what Find gives.
  virtual base::Result<StoredTensor> FindStored(const std::string& name) const;

  // The tensor, which must have this shape and a floating-point type (f32, f16, bf16).
  base::Result<tensor::Tensor> Get(const std::string& name, const tensor::Shape& shape) const;
  // The same of a weight, which may lie in any format that a product takes.
  base::Result<StoredTensor> GetStored(const std::string& name, const tensor::Shape& shape) const;
  // The same of one dimension, as f32.
  base::Result<std::vector<float>> GetVector(const std::string& name, int64_t size) const;
};

// y = x W^T, as Linear modules keep their weights: [outputs, inputs] as a matrix [inputs, outputs].
// The format is F32, F16 or BF16.
kernels::MatrixSource TransposedSource(const StoredTensor& weight);

}  // namespace sluice::lm
