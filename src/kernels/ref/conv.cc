// Convolutions: runs of outputs along the last spatial axis are accumulated together.
#include <algorithm>

#include "kernels/ref/lanes.h"
#include "kernels/ref/taps.h"
#include "kernels/ref/window.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

template <class W>
W ZeroAt(const ConstView& zero, int64_t i) {
  if (zero.data == nullptr) return W(0);
  return LoadOne<W>(zero.dtype, zero.data, zero.shape.elements() > 1 ? i : 0);
}

template <class W>
void ConvAs(const ConvArgs& args) {
  const SpatialGrid grid(args.x.shape, args.y.shape, args.window);
  const int64_t channels = args.x.shape[1];
  const int64_t outputs = args.y.shape[1];
  const int64_t group_in = channels / args.groups;
  const int64_t group_out = outputs / args.groups;
  const W x_zero = ZeroAt<W>(args.x_zero, 0);
  W sums[kLanes];
  W lanes[kLanes];
  for (int64_t plane = 0; plane < args.x.shape[0] * outputs; ++plane) {
    const int64_t m = plane % outputs;
    const int64_t first_channel = plane / outputs * channels + m / group_out * group_in;
    const W bias =
        args.bias.data != nullptr ? LoadOne<W>(args.bias.dtype, args.bias.data, m) : W(0);
    const W weight_zero = ZeroAt<W>(args.weight_zero, m);
    grid.Runs([&](const OutputRun& run) {
      std::fill(sums, sums + run.count, bias);
      for (int64_t c = 0; c < group_in; ++c) {
        grid.Taps(run, [&](const RunTap& tap) {
          const W weight = LoadOne<W>(args.weight.dtype, args.weight.data,
                                      (m * group_in + c) * grid.taps() + tap.index) -
                           weight_zero;
          LoadLanes(args.x.dtype, args.x.data, (first_channel + c) * grid.in_plane() + tap.from,
                    tap.stride, tap.end - tap.begin, lanes);
          for (int64_t i = tap.begin; i < tap.end; ++i) {
            sums[i] = WrapAdd(sums[i], WrapMul(weight, lanes[i - tap.begin] - x_zero));
          }
        });
      }
      StoreLanes(args.y.dtype, args.y.data, plane * grid.out_plane() + run.first, 1, run.count,
                 sums);
    });
  }
}

}  // namespace

void Conv(const ConvArgs& args) {
  CHECK(args.groups > 0 && args.x.shape[1] % args.groups == 0 &&
        args.y.shape[1] % args.groups == 0);
  CHECK_EQ(args.weight.shape[0], args.y.shape[1]);
  CHECK_EQ(args.weight.shape[1], args.x.shape[1] / args.groups);
  if (tensor::IsFloat(args.x.dtype)) return ConvAs<double>(args);
  ConvAs<int64_t>(args);
}

void ConvTranspose(const ConvTransposeArgs& args) {
  const int64_t channels = args.x.shape[1];
  const int64_t outputs = args.y.shape[1];
  CHECK(args.groups > 0 && channels % args.groups == 0 && outputs % args.groups == 0);
  CHECK_EQ(args.weight.shape[0], channels);
  CHECK_EQ(args.weight.shape[1], outputs / args.groups);
  const int64_t group_in = channels / args.groups;
  const int64_t group_out = outputs / args.groups;
  const int spatial = args.x.shape.rank() - 2;
  const int64_t in_plane = args.x.shape.elements(2, args.x.shape.rank());
  const int64_t out_plane = args.y.shape.elements(2, args.y.shape.rank());
  int64_t taps = 1;
  for (int d = 0; d < spatial; ++d) taps *= args.window.kernel[d];
  for (int64_t i = 0; i < args.y.shape.elements(); ++i) {
    const int64_t plane = i / out_plane;
    const int64_t m = plane % outputs;
    const int64_t first_channel = m / group_out * group_in;
    double sum =
        args.bias.data != nullptr ? LoadOne<double>(args.bias.dtype, args.bias.data, m) : 0;
    for (int64_t tap = 0; tap < taps; ++tap) {
      // The input whose window puts this tap here, axis by axis from the last; none if a stride
      // does not divide.
      int64_t from = 0;
      int64_t in_stride = 1;
      int64_t rest_out = i % out_plane;
      int64_t rest_tap = tap;
      bool hit = true;
      for (int d = spatial - 1; d >= 0 && hit; --d) {
        const int64_t out = rest_out % args.y.shape[d + 2];
        const int64_t k = rest_tap % args.window.kernel[d];
        rest_out /= args.y.shape[d + 2];
        rest_tap /= args.window.kernel[d];
        const int64_t scaled = out + args.window.pad[d] - k * args.window.dilation[d];
        hit = scaled >= 0 && scaled % args.window.stride[d] == 0 &&
              scaled / args.window.stride[d] < args.x.shape[d + 2];
        from += scaled / args.window.stride[d] * in_stride;
        in_stride *= args.x.shape[d + 2];
      }
      if (!hit) continue;
      for (int64_t c = first_channel; c < first_channel + group_in; ++c) {
        const int64_t weight_at = (c * group_out + m % group_out) * taps + tap;
        sum += LoadOne<double>(args.x.dtype, args.x.data,
                               (plane / outputs * channels + c) * in_plane + from) *
               LoadOne<double>(args.weight.dtype, args.weight.data, weight_at);
      }
    }
    StoreOne(args.y.dtype, args.y.data, i, sum);
  }
}

}  // namespace sluice::kernels::ref
