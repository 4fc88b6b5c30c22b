// Views of dense row-major memory: they look and never own. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace sluice::tensor {

// A read-only view of `shape` elements of `dtype` at `data`, packed row-major.
struct ConstView {
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;

  int64_t bytes() const { return shape.elements() * DTypeSize(dtype); }
  template <class T>
  const T* as() const {
    DCHECK(DTypeSize(dtype) == static_cast<int64_t>(sizeof(T)));
    return static_cast<const T*>(data);
  }
  template <class T>
  std::span<const T> span() const {
    return {as<T>(), static_cast<size_t>(shape.elements())};
  }
};

// The same, writable.
struct View {
  DType dtype = DType::kF32;
  Shape shape;
  void* data = nullptr;

  int64_t bytes() const { return shape.elements() * DTypeSize(dtype); }
  template <class T>
  T* as() const {
    DCHECK(DTypeSize(dtype) == static_cast<int64_t>(sizeof(T)));
    return static_cast<T*>(data);
  }
  template <class T>
  std::span<T> span() const {
    return {as<T>(), static_cast<size_t>(shape.elements())};
  }
  operator ConstView() const { return {dtype, shape, data}; }
};

}  // namespace sluice::tensor
