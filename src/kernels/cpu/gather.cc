// Compiled once per target: rows of a table by checked index, alone or summed in bags.
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

// One bag: columns in groups of kGroup vectors, each group over all positions. The first bad
// position, or kAllInRange.
template <class Row>
class BagSum {
 public:
  // Bags up to last_bag will follow each other: rows are fetched ahead across their borders.
  BagSum(const BagArgs& args, int64_t last_bag)
      : args_(args),
        fetch_end_(args.offsets != nullptr ? args.offsets[last_bag] : last_bag * args.bag_size) {}

  int64_t Run(int64_t bag) {
    const F32 d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    begin_ = args_.offsets != nullptr ? args_.offsets[bag] : bag * args_.bag_size;
    end_ = args_.offsets != nullptr ? args_.offsets[bag + 1] : begin_ + args_.bag_size;
    bad_ = kAllInRange;
    float* y = args_.y + bag * args_.y_stride;
    const int64_t n = args_.table.columns;
    int64_t c = 0;
    for (; c + 4 * lanes <= n; c += 4 * lanes) Vectors<4>(c, y);
    for (; c + lanes <= n; c += lanes) Vectors<1>(c, y);
    for (; c < n; ++c) Scalar(c, y);
    return bad_;
  }

 private:
  // add(position, row) for every position that counts; returns how many.
  template <class Add>
  HWY_INLINE int64_t ForRows(Add add) {
    int64_t count = 0;
    for (int64_t i = begin_; i < end_; ++i) {
      if (i + kAhead < fetch_end_) FetchRow(args_.table, args_.indices, i + kAhead);
      const int64_t row = RowAt(args_.indices, i, args_.table.rows);
      if (row < 0) {
        if (bad_ == kAllInRange) bad_ = i;
        continue;
      }
      if (args_.padding_index >= 0 && row == args_.padding_index) continue;
      add(i, row);
      ++count;
    }
    return count;
  }
  HWY_INLINE float Weight(int64_t i) const {
    return args_.weights != nullptr ? args_.weights[i] : 1.0f;
  }
  HWY_INLINE float Divisor(int64_t count) const {
    return args_.mean && count > 0 ? static_cast<float>(count) : 1.0f;
  }

  template <int kVectors>
  void Vectors(int64_t c, float* y) {
    const F32 d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    VF a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
    const int64_t count = ForRows([&](int64_t i, int64_t row) HWY_ATTR {
      const Row from(args_.table, row);
      const VF w = hn::Set(d, Weight(i));
      a0 = hn::MulAdd(w, from(c), a0);
      if (kVectors == 1) return;
      a1 = hn::MulAdd(w, from(c + lanes), a1);
      a2 = hn::MulAdd(w, from(c + 2 * lanes), a2);
      a3 = hn::MulAdd(w, from(c + 3 * lanes), a3);
    });
    const VF divisor = hn::Set(d, Divisor(count));
    hn::StoreU(hn::Div(a0, divisor), d, y + c);
    if (kVectors == 1) return;
    hn::StoreU(hn::Div(a1, divisor), d, y + c + lanes);
    hn::StoreU(hn::Div(a2, divisor), d, y + c + 2 * lanes);
    hn::StoreU(hn::Div(a3, divisor), d, y + c + 3 * lanes);
  }

  void Scalar(int64_t c, float* y) {
    float acc = 0;
    const int64_t count = ForRows([&](int64_t i, int64_t row) HWY_ATTR {
      const Row from(args_.table, row);
      acc += Weight(i) * WidenOne(kRowType<Row>, from.at, c);
    });
    y[c] = acc / Divisor(count);
  }

  const BagArgs& args_;
  int64_t fetch_end_;
  int64_t begin_ = 0;
  int64_t end_ = 0;
  int64_t bad_ = kAllInRange;
};

template <class Row>
int64_t BagsAs(const BagArgs& args, int64_t begin, int64_t end) {
  int64_t bad = kAllInRange;
  BagSum<Row> sum(args, end);
  for (int64_t bag = begin; bag < end; ++bag) {
    const int64_t found = sum.Run(bag);
    if (bad == kAllInRange) bad = found;
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

int64_t RunBags(const BagArgs& args, int64_t begin, int64_t end) {
  switch (args.table.dtype) {
    case DType::kF16:
      return BagsAs<F16Row>(args, begin, end);
    case DType::kBF16:
      return BagsAs<BF16Row>(args, begin, end);
    default:
      return BagsAs<F32Row>(args, begin, end);
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
