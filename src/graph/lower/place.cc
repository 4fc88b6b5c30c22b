#include "graph/lower/place.h"

namespace sluice::graph {

void SetPackedStrides(const tensor::Shape& shape, Place& place) {
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    place.strides[axis] = stride;
    stride *= shape[axis];
  }
}

bool IsPacked(const tensor::Shape& shape, const Place& place) {
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 0) return true;
    if (shape[axis] != 1 && place.strides[axis] != stride) return false;
    stride *= shape[axis];
  }
  return true;
}

std::optional<Place> ReshapePlace(const tensor::Shape& from, const Place& place,
                                  const tensor::Shape& to) {
  Place out;
  out.ref = place.ref;
  if (IsPacked(from, place)) {
    SetPackedStrides(to, out);
    return out;
  }
  // From the last axis on: a run of old axes that lie one behind the other takes new axes until
  // both have as many elements; then the next run begins.
  int axis = from.rank() - 1;
  int next = to.rank() - 1;
  while (axis >= 0) {
    int64_t old_count = from[axis];
    const int64_t inner_stride = place.strides[axis];
    int64_t stride = inner_stride * from[axis];
    --axis;
    while (axis >= 0 && (from[axis] == 1 || place.strides[axis] == stride) &&
           !(inner_stride == 0 && place.strides[axis] != 0)) {
      old_count *= from[axis];
      stride = from[axis] == 1 ? stride : place.strides[axis] * from[axis];
      --axis;
    }
    int64_t new_count = 1;
    int64_t new_stride = inner_stride;
    while (next >= 0 && new_count * to[next] <= old_count) {
      if (new_count == old_count && to[next] != 1) break;
      out.strides[next] = new_stride;
      new_stride *= to[next];
      new_count *= to[next];
      --next;
    }
    if (new_count != old_count) return std::nullopt;
  }
  return next < 0 ? std::optional<Place>(out) : std::nullopt;
}

}  // namespace sluice::graph
