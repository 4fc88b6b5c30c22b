// Compiled once per target: rows of a table by checked index.
#include "kernels/cpu/gather.h"

#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

// How many positions ahead rows are fetched: a few hundred nanoseconds of work.
constexpr int64_t kAhead = 8;
constexpr int64_t kCacheLine = 64;
// Lines of a row that are fetched ahead; the hardware follows from there.
constexpr int64_t kAheadLines = 8;

HWY_INLINE int64_t ReadIndex(const IndexView& indices, int64_t i) {
  return indices.wide ? static_cast<const int64_t*>(indices.data)[i]
                      : static_cast<const int32_t*>(indices.data)[i];
}

// The row that position i names, or -1.
HWY_INLINE int64_t RowAt(const IndexView& indices, int64_t i, int64_t rows) {
  const int64_t raw = ReadIndex(indices, i);
  if (raw < -rows || raw >= rows) return -1;
  return raw < 0 ? raw + rows : raw;
}

HWY_INLINE int64_t ElementBytes(DType type) {
  return type == DType::kF32 ? 4 : 2;
}

HWY_INLINE void FetchRow(const TableView& table, const IndexView& indices, int64_t i) {
  const int64_t row = RowAt(indices, i, table.rows);
  if (row < 0) return;
  const int64_t bytes = table.columns * ElementBytes(table.dtype);
  const char* at = static_cast<const char*>(table.data) + row * bytes;
  const int64_t lines = bytes < kAheadLines * kCacheLine ? bytes : kAheadLines * kCacheLine;
  for (int64_t b = 0; b < lines; b += kCacheLine) __builtin_prefetch(at + b);
}

// Vectors of a row of each type.
struct F32Row {
  const float* at;
  explicit F32Row(const TableView& t, int64_t row)
      : at(static_cast<const float*>(t.data) + row * t.columns) {}
  HWY_INLINE VF operator()(int64_t i) const { return hn::LoadU(F32(), at + i); }
};
struct F16Row {
  const uint16_t* at;
  explicit F16Row(const TableView& t, int64_t row)
      : at(static_cast<const uint16_t*>(t.data) + row * t.columns) {}
  HWY_INLINE VF operator()(int64_t i) const { return WidenHalf(at + i); }
};
struct BF16Row {
  const uint16_t* at;
  explicit BF16Row(const TableView& t, int64_t row)
      : at(static_cast<const uint16_t*>(t.data) + row * t.columns) {}
  HWY_INLINE VF operator()(int64_t i) const { return WidenBrain(at + i); }
};
template <class Row>
inline constexpr DType kRowType = DType::kF32;
template <>
inline constexpr DType kRowType<F16Row> = DType::kF16;
template <>
inline constexpr DType kRowType<BF16Row> = DType::kBF16;

template <class Row>
int64_t GatherAs(const GatherRowsArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t n = args.table.columns;
  int64_t bad = kAllInRange;
  for (int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) FetchRow(args.table, args.indices, i + kAhead);
    const int64_t row = RowAt(args.indices, i, args.table.rows);
    if (row < 0) {
      if (bad == kAllInRange) bad = i;
      continue;
    }
    const Row from(args.table, row);
    float* y = args.y + i * args.y_stride;
    int64_t c = 0;
    for (; c + lanes <= n; c += lanes) hn::StoreU(from(c), d, y + c);
    for (; c < n; ++c) y[c] = WidenOne(kRowType<Row>, from.at, c);
  }
  return bad;
}

}  // namespace

int64_t RunGatherRows(const GatherRowsArgs& args, int64_t begin, int64_t end) {
  switch (args.table.dtype) {
    case DType::kF16:
      return GatherAs<F16Row>(args, begin, end);
    case DType::kBF16:
      return GatherAs<BF16Row>(args, begin, end);
    default:
      return GatherAs<F32Row>(args, begin, end);
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
