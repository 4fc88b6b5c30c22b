// Copies between strided operands of any element size: the engine of every data movement.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/ref/walk.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

// 16 bytes moved as one: a kBytes element.
struct Element16 {
  uint64_t halves[2];
};

// f(E{}) with an opaque element of the dtype's size.
template <class F>
decltype(auto) WithElement(tensor::DType dtype, F&& f) {
  switch (tensor::DTypeSize(dtype)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    default:
      return f(Element16{});
  }
}

// to[walk operand 1] = from[walk operand 0].
template <class E>
void CopyWalk(const Walk<2>& walk, const E* from, E* to) {
  walk.Rows([&](const int64_t(&at)[2], int64_t n, const int64_t(&s)[2]) {
    const E* f = from + at[0];
    E* t = to + at[1];
    if (s[0] == 1 && s[1] == 1) {
      std::memcpy(t, f, static_cast<size_t>(n) * sizeof(E));
    } else {
      for (int64_t i = 0; i < n; ++i) t[i * s[1]] = f[i * s[0]];
    }
  });
}

inline void StridedCopy(const Walk<2>& walk, tensor::DType dtype, const void* from, void* to) {
  WithElement(dtype, [&](auto tag) {
    using E = decltype(tag);
    CopyWalk(walk, static_cast<const E*>(from), static_cast<E*>(to));
  });
}

}  // namespace sluice::kernels::ref
