// The geometry of windows: which inputs each tap of a kernel brings to a run of outputs along the
// last spatial axis.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/window.h"

namespace sluice::kernels::ref {

// Up to kLanes neighbouring outputs in one row of a plane.
struct OutputRun {
  int64_t first = 0;  // flattened within the plane
  int64_t count = 0;
  int64_t at[kMaxSpatial] = {};  // spatial position of the first
};

// One tap over a run: outputs [begin, end) of the run read from + (i - begin) * stride of the input
// plane.
struct RunTap {
  int64_t index = 0;  // of the tap within the kernel, flattened
  int64_t from = 0;
  int64_t stride = 1;
  int64_t begin = 0;
  int64_t end = 0;
};

class SpatialGrid {
 public:
  // x and y are [N, C, spatial...] with the same number of spatial axes, at least one.
  SpatialGrid(const tensor::Shape& x, const tensor::Shape& y, const Window& window)
      : window_(window), rank_(x.rank() - 2) {
    CHECK(rank_ >= 1 && y.rank() == x.rank());
    for (int d = 0; d < rank_; ++d) {
      in_[d] = x[d + 2];
      out_[d] = y[d + 2];
      in_plane_ *= in_[d];
      out_plane_ *= out_[d];
      taps_ *= window.kernel[d];
    }
  }
  int64_t in_plane() const { return in_plane_; }
  int64_t out_plane() const { return out_plane_; }
  int64_t taps() const { return taps_; }

  // Every run of a plane of outputs, in order.
  template <class F>
  void Runs(F&& f) const {
    const int last = rank_ - 1;
    for (int64_t row = 0; row < out_plane_; row += out_[last]) {
      OutputRun run;
      int64_t rest = row / out_[last];
      for (int d = last - 1; d >= 0; --d) {
        run.at[d] = rest % out_[d];
        rest /= out_[d];
      }
      for (int64_t i = 0; i < out_[last]; i += kLanes) {
        run.first = row + i;
        run.at[last] = i;
        run.count = std::min(out_[last] - i, kLanes);
        f(run);
      }
    }
  }

  // Every tap that reaches inside the input for at least one output of the run, in order.
  template <class F>
  void Taps(const OutputRun& run, F&& f) const {
    const int last = rank_ - 1;
    for (int64_t index = 0; index < taps_; ++index) {
      RunTap tap;
      tap.index = index;
      tap.stride = window_.stride[last];
      int64_t rest = index;
      int64_t plane = 1;
      bool inside = true;
      int64_t column = 0;
      for (int d = last; d >= 0; --d) {
        const int64_t k = rest % window_.kernel[d];
        rest /= window_.kernel[d];
        const int64_t position =
            run.at[d] * window_.stride[d] - window_.pad[d] + k * window_.dilation[d];
        if (d == last) {
          column = position;
        } else {
          inside = inside && position >= 0 && position < in_[d];
          tap.from += position * plane;
        }
        plane *= in_[d];
      }
      if (!inside) continue;
      // Outputs i with 0 <= column + i * stride < extent.
      const int64_t s = tap.stride;
      tap.begin = column >= 0 ? 0 : (-column + s - 1) / s;
      tap.end = column >= in_[last] ? 0 : std::min(run.count, (in_[last] - column + s - 1) / s);
      if (tap.begin >= tap.end) continue;
      tap.from += column + tap.begin * s;
      f(tap);
    }
  }

 private:
  const Window& window_;
  int rank_;
  int64_t in_[kMaxSpatial] = {};
  int64_t out_[kMaxSpatial] = {};
  int64_t in_plane_ = 1;
  int64_t out_plane_ = 1;
  int64_t taps_ = 1;
};

}  // namespace sluice::kernels::ref
