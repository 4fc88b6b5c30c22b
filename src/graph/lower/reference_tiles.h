// How a step that runs a reference kernel is cut into tiles along an axis whose positions do not
// meet, and what it costs: what the executor needs to give way inside it.
#pragma once

#include <cstdint>

#include "graph/op.h"

namespace sluice::graph {

// The op runs on [begin, end) of `extent` by itself when every operand with an axis is replaced by
// that slice of it. Slices are contiguous: all axes before the cut one have extent 1.
struct ReferenceCut {
  static constexpr size_t kInputsMax = 12;
  static constexpr size_t kOutputsMax = 4;
  int64_t extent = 1;                                                            // 1: not cut
  int8_t inputs[kInputsMax] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};  // -1: whole
  int8_t outputs[kOutputsMax] = {-1, -1, -1, -1};
};
ReferenceCut CutReference(const RunShapes& shapes);
// Where tile `tile` of `tiles` begins on the cut axis.
inline int64_t TileBegin(const ReferenceCut& cut, int64_t tile, int64_t tiles) {
  const int64_t base = cut.extent / tiles;
  const int64_t longer = cut.extent % tiles;
  return tile * base + (tile < longer ? tile : longer);
}

// What a run takes about, in nanoseconds: arithmetic that the sizes of the outputs do not tell is
// counted.
double ReferenceNs(const RunShapes& shapes);

}  // namespace sluice::graph
