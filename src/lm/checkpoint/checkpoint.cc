#include "lm/checkpoint/checkpoint.h"

#include "kernels/block_gemm.h"
#include "tensor/float16.h"

namespace sluice::lm {

using tensor::BlockFormat;
using tensor::DType;

namespace {

base::Result<StoredTensor> StoredAs(const std::string& name, tensor::Tensor found) {
  StoredTensor stored;
  switch (found.dtype) {
    case DType::kF32:
      stored.format = BlockFormat::kF32;
      break;
    case DType::kF16:
      stored.format = BlockFormat::kF16;
      break;
    case DType::kBF16:
      stored.format = BlockFormat::kBF16;
      break;
    default:
      return base::Unimplemented("tensor " + name + ": elements of " +
                                 std::string(DTypeName(found.dtype)) +
                                 "; F32, F16 and BF16 are taken");
  }
  stored.shape = found.shape;
  stored.buffer = std::move(found.buffer);
  return stored;
}

base::Status ExpectShape(const std::string& name, const tensor::Shape& found,
                         const tensor::Shape& shape) {
  if (found == shape) return base::Ok();
  return base::InvalidArgument("tensor " + name + ": expected the shape " + shape.ToString() +
                               " that the configuration gives, got " + found.ToString());
}

}  // namespace

base::Result<StoredTensor> Checkpoint::FindStored(const std::string& name) const {
  return StoredAs(name, TRY(Find(name)));
}

base::Result<StoredTensor> Checkpoint::GetStored(const std::string& name,
                                                 const tensor::Shape& shape) const {
  StoredTensor found = TRY(FindStored(name));
  if (found.format != BlockFormat::kF32 && !kernels::BlockGemmTakes(found.format)) {
    return base::Unimplemented("tensor " + name + ": no product takes weights of " +
                               std::string(tensor::BlockFormatName(found.format)));
  }
  TRY(ExpectShape(name, found.shape, shape));
  return found;
}

base::Result<tensor::Tensor> Checkpoint::Get(const std::string& name,
                                             const tensor::Shape& shape) const {
  tensor::Tensor found = TRY(Find(name));
  if (found.dtype != DType::kF32 && found.dtype != DType::kF16 && found.dtype != DType::kBF16) {
    return base::Unimplemented("tensor " + name + ": elements of " +
                               std::string(DTypeName(found.dtype)) +
                               "; F32, F16 and BF16 are taken");
  }
  TRY(ExpectShape(name, found.shape, shape));
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

kernels::MatrixSource TransposedSource(const StoredTensor& weight) {
  kernels::MatrixSource source;
  source.data = weight.buffer.data();
  source.dtype = *tensor::PlainDType(weight.format);
  source.k = weight.shape[1];
  source.n = weight.shape[0];
  source.k_stride = 1;
  source.n_stride = source.k;
  return source;
}

}  // namespace sluice::lm
