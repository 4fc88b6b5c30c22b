// Selections whose output size or order depends on the data: non-zero, compress, top-k, unique.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "kernels/ref/gather.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/strided_copy.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;
using tensor::DTypeSize;

bool IsNonZero(const ConstView& x, int64_t i) {
  if (x.dtype == DType::kBytes) return !static_cast<const std::string_view*>(x.data)[i].empty();
  return WithWide(x.dtype,
                  [&](auto tag) { return LoadOne<decltype(tag)>(x.dtype, x.data, i) != 0; });
}

}  // namespace

int64_t NonZeroCount(const ConstView& x) {
  int64_t count = 0;
  for (int64_t i = 0; i < x.shape.elements(); ++i) count += IsNonZero(x, i) ? 1 : 0;
  return count;
}

void NonZero(const NonZeroArgs& args) {
  const Shape& s = args.x.shape;
  const int rank = s.rank() > 0 ? s.rank() : 1;
  const int64_t count = args.y.shape.elements() / rank;
  int64_t* y = args.y.as<int64_t>();
  int64_t found = 0;
  for (int64_t i = 0; i < s.elements(); ++i) {
    if (!IsNonZero(args.x, i)) continue;
    CHECK_LT(found, count);
    int64_t rest = i;
    for (int d = rank - 1; d >= 0; --d) {
      const int64_t extent = s.rank() > 0 ? s[d] : 1;
      y[d * count + found] = rest % extent;
      rest /= extent;
    }
    ++found;
  }
  CHECK_EQ(found, count);
}

int64_t CompressCount(const ConstView& condition, int64_t extent) {
  const int64_t n = std::min(condition.shape.elements(), extent);
  return std::count(condition.as<bool>(), condition.as<bool>() + n, true);
}

void Compress(const CompressArgs& args) {
  const Shape& s = args.x.shape;
  const bool flat = args.axis < 0;
  const int64_t outer = flat ? 1 : s.elements(0, args.axis);
  const int64_t extent = flat ? s.elements() : s[args.axis];
  const int64_t row = (flat ? 1 : s.elements(args.axis + 1, s.rank())) * DTypeSize(args.x.dtype);
  const int64_t n = std::min(args.condition.shape.elements(), extent);
  CHECK_EQ(args.y.bytes(), outer * CompressCount(args.condition, extent) * row);
  char* to = static_cast<char*>(args.y.data);
  for (int64_t o = 0; o < outer && row > 0; ++o) {
    for (int64_t i = 0; i < n; ++i) {
      if (!args.condition.as<bool>()[i]) continue;
      std::memcpy(to, static_cast<const char*>(args.x.data) + (o * extent + i) * row,
                  static_cast<size_t>(row));
      to += row;
    }
  }
}

int64_t TopKScratch(const TopKArgs& args) {
  const Shape& s = args.x.shape;
  // Positions, and the values of a row widened.
  return 2 * (s.rank() == 0 ? 1 : s[args.axis < 0 ? args.axis + s.rank() : args.axis]);
}

void TopK(const TopKArgs& args) {
  const Shape& s = args.x.shape;
  const int axis = args.axis < 0 ? args.axis + s.rank() : args.axis;
  const int64_t outer = s.elements(0, axis);
  const int64_t extent = s[axis];
  const int64_t inner = s.elements(axis + 1, s.rank());
  const int64_t k = args.values.shape[axis];
  CHECK_LE(k, extent);
  WithWide(args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    static_assert(sizeof(W) == sizeof(int64_t));
    W* const values = reinterpret_cast<W*>(args.scratch + extent);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        for (int64_t e = 0; e < extent; e += kLanes) {
          LoadLanes(args.x.dtype, args.x.data, (o * extent + e) * inner + i, inner,
                    std::min(kLanes, extent - e), values + e);
        }
        const auto at = [values](int64_t e) { return values[e]; };
        // A strict order even with NaN: NaN is the largest, equals go by position.
        const auto before = [&](int64_t a, int64_t b) {
          const W va = at(a);
          const W vb = at(b);
          const bool nan_a = va != va;
          const bool nan_b = vb != vb;
          if (nan_a != nan_b) return nan_a == args.largest;
          if (nan_a || va == vb) return a < b;
          return args.largest ? va > vb : va < vb;
        };
        for (int64_t e = 0; e < extent; ++e) args.scratch[e] = e;
        std::partial_sort(args.scratch, args.scratch + k, args.scratch + extent, before);
        for (int64_t e = 0; e < k; ++e) {
          const int64_t to = (o * k + e) * inner + i;
          StoreOne(args.values.dtype, args.values.data, to, at(args.scratch[e]));
          args.indices.as<int64_t>()[to] = args.scratch[e];
        }
      }
    }
  });
}

namespace {

// x as [outer, extent, inner] with slices [outer, :, inner] compared as wholes.
struct Slices {
  int64_t outer = 1;
  int64_t extent = 1;
  int64_t inner = 1;
};
Slices SlicesOf(const UniqueArgs& args) {
  const Shape& s = args.x.shape;
  if (args.axis < 0) return {1, s.elements(), 1};
  return {s.elements(0, args.axis), s[args.axis], s.elements(args.axis + 1, s.rank())};
}

// -1, 0, 1 as slice a comes before, equals, or comes after slice b. All NaNs are equal and the
// largest.
int CompareSlices(const ConstView& x, const Slices& slices, int64_t a, int64_t b) {
  const auto compare = [&](auto&& element) {
    for (int64_t o = 0; o < slices.outer; ++o) {
      for (int64_t i = 0; i < slices.inner; ++i) {
        const auto va = element((o * slices.extent + a) * slices.inner + i);
        const auto vb = element((o * slices.extent + b) * slices.inner + i);
        if (va < vb) return -1;
        if (vb < va) return 1;
        if (va == vb) continue;
        const bool nan_a = va != va;
        const bool nan_b = vb != vb;
        if (nan_a != nan_b) return nan_a ? 1 : -1;
      }
    }
    return 0;
  };
  if (x.dtype == DType::kBytes) {
    return compare([&](int64_t i) { return static_cast<const std::string_view*>(x.data)[i]; });
  }
  return WithWide(x.dtype, [&](auto tag) {
    return compare([&](int64_t i) { return LoadOne<decltype(tag)>(x.dtype, x.data, i); });
  });
}

}  // namespace

// scratch: [extent] positions sorted by value then position, [extent] group of each position,
// [extent] first position of each group in output order.
int64_t UniqueScratch(const UniqueArgs& args) {
  return 3 * SlicesOf(args).extent;
}

int64_t UniqueFind(const UniqueArgs& args) {
  const Slices slices = SlicesOf(args);
  const int64_t n = slices.extent;
  int64_t* order = args.scratch;
  int64_t* group = order + n;
  int64_t* first = group + n;
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  std::sort(order, order + n, [&](int64_t a, int64_t b) {
    const int c = CompareSlices(args.x, slices, a, b);
    return c != 0 ? c < 0 : a < b;
  });
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || CompareSlices(args.x, slices, order[i - 1], order[i]) != 0)
      first[count++] = order[i];
    group[order[i]] = count - 1;
  }
  if (args.sorted) return count;
  // Renumber the groups by their first position; `order` is free to hold the old number's new one.
  int64_t seen = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (first[group[i]] == i) order[group[i]] = seen++;
  }
  for (int64_t i = 0; i < n; ++i) group[i] = order[group[i]];
  seen = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (group[i] == seen) first[seen++] = i;
  }
  return count;
}

void UniqueWrite(const UniqueArgs& args) {
  const Slices slices = SlicesOf(args);
  const int64_t n = slices.extent;
  const int64_t* group = args.scratch + n;
  const int64_t* first = group + n;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count = std::max(count, group[i] + 1);
  if (args.y.data != nullptr) {
    const int64_t row = slices.inner * DTypeSize(args.x.dtype);
    for (int64_t o = 0; o < slices.outer && row > 0; ++o) {
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(static_cast<char*>(args.y.data) + (o * count + i) * row,
                    static_cast<const char*>(args.x.data) + (o * n + first[i]) * row,
                    static_cast<size_t>(row));
      }
    }
  }
  if (args.first.data != nullptr) std::copy(first, first + count, args.first.as<int64_t>());
  if (args.inverse.data != nullptr) std::copy(group, group + n, args.inverse.as<int64_t>());
  if (args.counts.data != nullptr) {
    int64_t* counts = args.counts.as<int64_t>();
    std::fill(counts, counts + count, 0);
    for (int64_t i = 0; i < n; ++i) ++counts[group[i]];
  }
}

}  // namespace sluice::kernels::ref
