// Linear quantisation. Division, product and rounding are done in float, as ONNX states them.
#include "kernels/ref/quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/ref/lanes.h"
#include "kernels/ref/walk.h"
#include "tensor/narrow.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

// Index into scale and zero point for each element of x, which is [outer, extent, inner] around the
// axis.
class GridIndex {
 public:
  GridIndex(const Shape& x, const Shape& scale, const QuantGrid& grid)
      : whole_(scale.elements() == 1) {
    if (whole_) return;
    CHECK(grid.axis >= 0 && grid.axis < x.rank());
    extent_ = x[grid.axis];
    inner_ = x.elements(grid.axis + 1, x.rank());
    block_ = grid.block;
    blocks_ = block_ > 0 ? (extent_ + block_ - 1) / block_ : 0;
    CHECK_EQ(scale.elements(), block_ > 0 ? x.elements(0, grid.axis) * blocks_ * inner_ : extent_);
  }
  int64_t operator()(int64_t i) const {
    if (whole_) return 0;
    const int64_t along = i / inner_ % extent_;
    if (block_ == 0) return along;
    return (i / inner_ / extent_ * blocks_ + along / block_) * inner_ + i % inner_;
  }

 private:
  bool whole_;
  int64_t extent_ = 1;
  int64_t inner_ = 1;
  int64_t block_ = 0;
  int64_t blocks_ = 0;
};

struct Limits {
  double low;
  double high;
};
Limits LimitsOf(DType dtype) {
  switch (dtype) {
    case DType::kI8:
      return {-128, 127};
    case DType::kU8:
      return {0, 255};
    case DType::kI16:
      return {-32768, 32767};
    case DType::kU16:
      return {0, 65535};
    case DType::kI4:
      return {-8, 7};
    case DType::kU4:
      return {0, 15};
    case DType::kI2:
      return {-2, 1};
    case DType::kU2:
      return {0, 3};
    default:
      break;
  }
  CHECK(false) << "quantised to " << tensor::DTypeName(dtype);
  return {0, 0};
}

float Float(const ConstView& x, int64_t i) {
  return static_cast<float>(LoadOne<double>(x.dtype, x.data, i));
}

// round_half_even(x / scale) + zero within the limits; NaN gives the zero point's side of 0.
double QuantizeOne(float x, float scale, double zero, const Limits& limits) {
  const double value = static_cast<double>(std::nearbyint(x / scale)) + zero;
  return std::isnan(value) ? zero : std::clamp(value, limits.low, limits.high);
}

}  // namespace

void QuantizeLinear(const QuantizeLinearArgs& args) {
  const GridIndex grid(args.x.shape, args.scale.shape, args.grid);
  const bool to_float = tensor::IsStorage(args.y.dtype) && !tensor::IsNarrowInteger(args.y.dtype);
  const Limits limits = to_float ? Limits{0, 0} : LimitsOf(args.y.dtype);
  CHECK_EQ(args.y.shape.elements(), args.x.shape.elements());
  for (int64_t i = 0; i < args.x.shape.elements(); ++i) {
    const int64_t at = grid(i);
    const double zero =
        args.zero.data != nullptr ? LoadOne<double>(args.zero.dtype, args.zero.data, at) : 0;
    if (to_float) {
      const float ratio = Float(args.x, i) / Float(args.scale, at) + static_cast<float>(zero);
      static_cast<uint8_t*>(args.y.data)[i] = tensor::EncodeNarrow(
          args.y.dtype, static_cast<double>(ratio), {.saturate = args.saturate});
      continue;
    }
    StoreOne(args.y.dtype, args.y.data, i,
             QuantizeOne(Float(args.x, i), Float(args.scale, at), zero, limits));
  }
}

void DequantizeLinear(const DequantizeLinearArgs& args) {
  const GridIndex grid(args.x.shape, args.scale.shape, args.grid);
  CHECK_EQ(args.y.shape.elements(), args.x.shape.elements());
  for (int64_t i = 0; i < args.x.shape.elements(); ++i) {
    const int64_t at = grid(i);
    const double zero =
        args.zero.data != nullptr ? LoadOne<double>(args.zero.dtype, args.zero.data, at) : 0;
    const double value = LoadOne<double>(args.x.dtype, args.x.data, i) - zero;
    StoreOne(args.y.dtype, args.y.data, i, value * static_cast<double>(Float(args.scale, at)));
  }
}

void DynamicQuantize(const DynamicQuantizeArgs& args) {
  const int64_t count = args.x.shape.elements();
  float low = 0;
  float high = 0;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, Float(args.x, i));
    high = std::max(high, Float(args.x, i));
  }
  const float scale = (high - low) / 255.0f;
  const Limits limits = {0, 255};
  const double zero = scale > 0 ? QuantizeOne(-low, scale, 0, limits) : 0;
  StoreOne(args.scale.dtype, args.scale.data, 0, static_cast<double>(scale));
  StoreOne(args.zero.dtype, args.zero.data, 0, zero);
  for (int64_t i = 0; i < count; ++i) {
    const double value = scale > 0 ? QuantizeOne(Float(args.x, i), scale, zero, limits) : 0;
    StoreOne(args.y.dtype, args.y.data, i, value);
  }
}

}  // namespace sluice::kernels::ref
