// Where the elements of a value lie: strided views over buffers, so that reshapes, transposes,
// slices and broadcasts cost nothing until a kernel needs packed rows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "graph/lower/program_builder.h"
#include "tensor/shape.h"

namespace sluice::graph {

// Element (i0, i1, …) of the value is at ref + sum of i * strides, strides in elements (0:
// broadcast).
struct Place {
  Ref ref;
  int64_t strides[tensor::kMaxRank] = {};
};

// Strides of packed row-major memory.
void SetPackedStrides(const tensor::Shape& shape, Place& place);
bool IsPacked(const tensor::Shape& shape, const Place& place);
// The same elements in row-major order under another shape, or nullopt when that needs a copy.
std::optional<Place> ReshapePlace(const tensor::Shape& from, const Place& place,
                                  const tensor::Shape& to);

}  // namespace sluice::graph
