// The extents of a product in the conformance tables, and their name in what is printed.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::conformance {

// C [m, n] = A [m, k] B [k, n].
struct Shape {
  int64_t m, n, k;
};

inline std::string Name(const Shape& s) {
  return std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
}

}  // namespace sluice::conformance
