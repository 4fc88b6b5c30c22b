#include "lm/checkpoint.h"

#include "tensor/float16.h"

namespace sluice::lm {

using tensor::DType;

base::Result<tensor::Tensor> Checkpoint::Get(const std::string& name,
                                             const tensor::Shape& shape) const {
  tensor::Tensor found = TRY(Find(name));
  if (found.dtype != DType::kF32 && found.dtype != DType::kF16 && found.dtype != DType::kBF16) {
    return base::Unimplemented("tensor " + name + ": elements of " +
                               std::string(DTypeName(found.dtype)) +
                               "; F32, F16 and BF16 are taken");
  }
  if (!(found.shape == shape)) {
    return base::InvalidArgument("tensor " + name + ": expected the shape " + shape.ToString() +
                                 " that the configuration gives, got " + found.shape.ToString());
  }
  return found;
}

base::Result<std::vector<float>> Checkpoint::GetVector(const std::string& name,
                                                       int64_t size) const {
  const tensor::Tensor found = TRY(Get(name, tensor::Shape({size})));
  std::vector<float> values(static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) {
    if (found.dtype == DType::kF32) {
      values[i] = found.view().as<float>()[i];
    } else if (found.dtype == DType::kF16) {
      values[i] = tensor::ToFloat(found.view().as<tensor::F16>()[i]);
    } else {
      values[i] = tensor::ToFloat(found.view().as<tensor::BF16>()[i]);
    }
  }
  return values;
}

kernels::MatrixSource TransposedSource(const tensor::Tensor& weight) {
  kernels::MatrixSource source;
  source.data = weight.buffer.data();
  source.dtype = weight.dtype;
  source.k = weight.shape[1];
  source.n = weight.shape[0];
  source.k_stride = 1;
  source.n_stride = source.k;
  return source;
}

}  // namespace sluice::lm
