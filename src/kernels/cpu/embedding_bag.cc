// Compiled once per target: rows of many tables by checked id, alone or summed in bags. A cursor
// runs ahead of the work over all tables and asks for the rows to come, since they lie anywhere.
#include "kernels/cpu/embedding_bag.h"

#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

constexpr int64_t kCacheLine = 64;
// Lines that are asked for ahead of their use: about what L2 can have in flight. Into L2 alone: L1
// waits for fewer, and from L2 the core hides what is left.
constexpr int64_t kAheadLines = 96;
// Lines of one row; the hardware follows from there.
constexpr int64_t kRowLines = 16;

template <class T>
HWY_INLINE const T* At(const LookupsArgs& args, const LookupPlace& place) {
  return reinterpret_cast<const T*>(static_cast<const char*>(args.bases[place.base]) +
                                    place.offset);
}

HWY_INLINE int64_t ElementBytes(DType type) {
  return type == DType::kF32 ? 4 : 2;
}

// One look-up with its pointers resolved.
struct Table {
  const char* rows_at;
  const char* ids;
  const int64_t* offsets;  // null: bag_size ids each
  const Lookup* lookup;
  int64_t row_bytes;
  int64_t rows;

  Table(const LookupsArgs& args, const Lookup& of)
      : rows_at(static_cast<const char*>(of.table.data)),
        ids(At<char>(args, of.ids)),
        offsets(of.offsets.base < 0 ? nullptr : At<int64_t>(args, of.offsets)),
        lookup(&of),
        row_bytes(of.table.columns * ElementBytes(of.table.dtype)),
        rows(of.table.rows) {}

  HWY_INLINE int64_t RawId(int64_t element) const {
    return lookup->wide_ids ? reinterpret_cast<const int64_t*>(ids)[element]
                            : reinterpret_cast<const int32_t*>(ids)[element];
  }
  // The row that an id names, or -1.
  HWY_INLINE int64_t Row(int64_t raw) const {
    const int64_t row = raw < 0 ? raw + rows : raw;
    return row >= 0 && row < rows ? row : -1;
  }
  int64_t Begin(int64_t bag) const { return offsets == nullptr ? 0 : offsets[bag]; }
  int64_t End(const LookupsArgs& args, int64_t bag) const {
    if (offsets == nullptr) return lookup->bag_size;
    return lookup->closed || bag + 1 < args.rows ? offsets[bag + 1] : lookup->id_count;
  }
  HWY_INLINE int64_t Element(int64_t bag, int64_t i) const {
    return offsets == nullptr ? bag * lookup->ids_bag + i * lookup->ids_step : i * lookup->ids_step;
  }
};

// Runs over the ids of rows [begin, end) of look-up after look-up, in the order of the work.
class Cursor {
 public:
  Cursor(const LookupsArgs& args, int64_t begin, int64_t end)
      : args_(args), begin_(begin), end_(end), table_(args, args.lookups[0]) {
    bag_ = begin;
    at_ = table_.Begin(bag_);
    bag_end_ = table_.End(args_, bag_);
    Settle();
    for (int64_t lines = 0; lines < kAheadLines && !done_;) {
      lines += (table_.row_bytes + kCacheLine - 1) / kCacheLine;
      Step();
    }
  }

  // Asks for the next row.
  HWY_INLINE void Step() {
    if (done_) return;
    const int64_t row = table_.Row(table_.RawId(table_.Element(bag_, at_)));
    if (row >= 0) {
      const char* from = table_.rows_at + row * table_.row_bytes;
      const int64_t bytes =
          table_.row_bytes < kRowLines * kCacheLine ? table_.row_bytes : kRowLines * kCacheLine;
      for (int64_t b = 0; b < bytes; b += kCacheLine) __builtin_prefetch(from + b, 0, 2);
    }
    if (++at_ == bag_end_) Settle();
  }

 private:
  // To the next bag that has ids.
  void Settle() {
    while (at_ == bag_end_) {
      if (++bag_ == end_) {
        if (++lookup_ == args_.count) {
          done_ = true;
          return;
        }
        table_ = Table(args_, args_.lookups[lookup_]);
        bag_ = begin_;
      }
      at_ = table_.Begin(bag_);
      bag_end_ = table_.End(args_, bag_);
    }
  }

  const LookupsArgs& args_;
  const int64_t begin_;
  const int64_t end_;
  Table table_;
  int64_t lookup_ = 0;
  int64_t bag_ = 0;
  int64_t at_ = 0;
  int64_t bag_end_ = 0;
  bool done_ = false;
};

// Vectors of a row of each type; Part reads the first lanes alone and gives zeros behind.
struct F32Row {
  const float* at;
  explicit F32Row(const char* row) : at(reinterpret_cast<const float*>(row)) {}
  HWY_INLINE VF operator()(int64_t i) const { return hn::LoadU(F32(), at + i); }
  template <class M>
  HWY_INLINE VF Part(int64_t i, M mask, int64_t) const {
    return hn::MaskedLoad(mask, F32(), at + i);
  }
};
template <DType kType>
struct HalfRow {
  const uint16_t* at;
  explicit HalfRow(const char* row) : at(reinterpret_cast<const uint16_t*>(row)) {}
  HWY_INLINE VF operator()(int64_t i) const {
    return kType == DType::kF16 ? WidenHalf(at + i) : WidenBrain(at + i);
  }
  template <class M>
  HWY_INLINE VF Part(int64_t i, M, int64_t lanes) const {
    alignas(64) float part[16] = {};
    for (int64_t k = 0; k < lanes; ++k) part[k] = WidenOne(kType, at, i + k);
    return hn::Load(F32(), part);
  }
};

// The bags [begin, end) of one look-up.
template <class Row>
class Bags {
 public:
  Bags(const LookupsArgs& args, const Lookup& lookup)
      : args_(args),
        table_(args, lookup),
        lookup_(lookup),
        weights_(lookup.weights.base < 0 ? nullptr : At<float>(args, lookup.weights)),
        y_(reinterpret_cast<float*>(static_cast<char*>(args.bases[lookup.y.base]) +
                                    lookup.y.offset)) {}

  LookupFault Run(int64_t begin, int64_t end, Cursor& cursor) {
    const F32 d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t n = lookup_.table.columns;
    for (bag_ = begin; bag_ < end; ++bag_) {
      first_ = table_.Begin(bag_);
      last_ = table_.End(args_, bag_);
      float* const y = y_ + bag_ * lookup_.y_stride;
      // The cursor moves on with the first pass over the bag alone.
      int64_t c = 0;
      cursor_ = &cursor;
      for (; c + 8 * lanes <= n; c += 8 * lanes) Vectors<8>(c, y);
      if (c + 4 * lanes <= n) Vectors<4>(c, y), c += 4 * lanes;
      if (c + 2 * lanes <= n) Vectors<2>(c, y), c += 2 * lanes;
      if (c + lanes <= n) Vectors<1>(c, y), c += lanes;
      if (c < n) Tail(c, n - c, y);
    }
    return fault_;
  }

 private:
  template <class Add>
  HWY_INLINE void ForRows(Add add) {
    for (int64_t i = first_; i < last_; ++i) {
      if (cursor_ != nullptr) cursor_->Step();
      const int64_t element = table_.Element(bag_, i);
      const int64_t raw = table_.RawId(element);
      const int64_t row = table_.Row(raw);
      if (HWY_UNLIKELY(row < 0)) {
        if (fault_.lookup < 0) {
          const int64_t position = table_.offsets == nullptr ? bag_ * lookup_.bag_size + i : i;
          fault_ = {&lookup_ - args_.lookups, false, position, raw, table_.rows};
        }
        continue;
      }
      const Row from(table_.rows_at + row * table_.row_bytes);
      if (weights_ == nullptr) {
        add(from);
      } else {
        add(from, weights_[table_.offsets == nullptr
                               ? bag_ * lookup_.weights_bag + i * lookup_.weights_step
                               : i * lookup_.weights_step]);
      }
    }
    cursor_ = nullptr;
  }
  HWY_INLINE VF Finish(VF sum, VF before) const {
    const F32 d;
    if (lookup_.mean && (last_ > first_ || table_.offsets == nullptr))
      sum = hn::Div(sum, hn::Set(d, static_cast<float>(last_ - first_)));
    return lookup_.accumulates ? hn::Add(before, sum) : sum;
  }

  template <int kVectors>
  HWY_INLINE void Vectors(int64_t c, float* y) {
    const F32 d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    // Named one by one: an array here would live in memory.
    VF a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
    struct Sum {
      VF &a0, &a1, &a2, &a3, &a4, &a5, &a6, &a7;
      int64_t c, lanes;
      HWY_INLINE void operator()(const Row& from) const {
        a0 = hn::Add(a0, from(c));
        if constexpr (kVectors > 1) a1 = hn::Add(a1, from(c + lanes));
        if constexpr (kVectors > 2) {
          a2 = hn::Add(a2, from(c + 2 * lanes));
          a3 = hn::Add(a3, from(c + 3 * lanes));
        }
        if constexpr (kVectors > 4) {
          a4 = hn::Add(a4, from(c + 4 * lanes));
          a5 = hn::Add(a5, from(c + 5 * lanes));
          a6 = hn::Add(a6, from(c + 6 * lanes));
          a7 = hn::Add(a7, from(c + 7 * lanes));
        }
      }
      HWY_INLINE void operator()(const Row& from, float weight) const {
        const VF w = hn::Set(F32(), weight);
        a0 = hn::MulAdd(w, from(c), a0);
        if constexpr (kVectors > 1) a1 = hn::MulAdd(w, from(c + lanes), a1);
        if constexpr (kVectors > 2) {
          a2 = hn::MulAdd(w, from(c + 2 * lanes), a2);
          a3 = hn::MulAdd(w, from(c + 3 * lanes), a3);
        }
        if constexpr (kVectors > 4) {
          a4 = hn::MulAdd(w, from(c + 4 * lanes), a4);
          a5 = hn::MulAdd(w, from(c + 5 * lanes), a5);
          a6 = hn::MulAdd(w, from(c + 6 * lanes), a6);
          a7 = hn::MulAdd(w, from(c + 7 * lanes), a7);
        }
      }
    };
    ForRows(Sum{a0, a1, a2, a3, a4, a5, a6, a7, c, lanes});
    const auto store = [&](VF sum, int64_t i) HWY_ATTR {
      float* const to = y + c + i * lanes;
      hn::StoreU(Finish(sum, hn::LoadU(d, to)), d, to);
    };
    store(a0, 0);
    if constexpr (kVectors > 1) store(a1, 1);
    if constexpr (kVectors > 2) store(a2, 2), store(a3, 3);
    if constexpr (kVectors > 4) store(a4, 4), store(a5, 5), store(a6, 6), store(a7, 7);
  }

  // The last columns, fewer than a vector.
  void Tail(int64_t c, int64_t columns, float* y) {
    const F32 d;
    const auto mask = hn::FirstN(d, static_cast<size_t>(columns));
    VF a = hn::Zero(d);
    struct Sum {
      VF& a;
      decltype(mask)& part;
      int64_t c, columns;
      HWY_INLINE void operator()(const Row& from) const {
        a = hn::Add(a, from.Part(c, part, columns));
      }
      HWY_INLINE void operator()(const Row& from, float weight) const {
        a = hn::MulAdd(hn::Set(F32(), weight), from.Part(c, part, columns), a);
      }
    };
    ForRows(Sum{a, mask, c, columns});
    hn::BlendedStore(Finish(a, hn::MaskedLoad(mask, d, y + c)), mask, d, y + c);
  }

  const LookupsArgs& args_;
  const Table table_;
  const Lookup& lookup_;
  const float* const weights_;
  float* const y_;
  int64_t bag_ = 0;
  int64_t first_ = 0;
  int64_t last_ = 0;
  Cursor* cursor_ = nullptr;
  LookupFault fault_;
};

// Whether the offsets of bags [begin, end) ascend within the ids.
LookupFault CheckOffsets(const LookupsArgs& args, int64_t at, int64_t begin, int64_t end) {
  const Lookup& lookup = args.lookups[at];
  const Table table(args, lookup);
  for (int64_t bag = begin; bag < end; ++bag) {
    const int64_t from = table.Begin(bag);
    if (from < 0 || from > lookup.id_count) return {at, true, bag, from, lookup.id_count + 1};
    const int64_t to = table.End(args, bag);
    if (to < from || to > lookup.id_count) return {at, true, bag + 1, to, lookup.id_count + 1};
  }
  return {};
}

}  // namespace

LookupFault RunLookups(const LookupsArgs& args, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < args.count; ++i) {
    if (args.lookups[i].offsets.base < 0) continue;
    const LookupFault fault = CheckOffsets(args, i, begin, end);
    if (fault.lookup >= 0) return fault;
  }
  Cursor cursor(args, begin, end);
  LookupFault first;
  for (int64_t i = 0; i < args.count; ++i) {
    const Lookup& lookup = args.lookups[i];
    LookupFault fault;
    switch (lookup.table.dtype) {
      case DType::kF16:
        fault = Bags<HalfRow<DType::kF16>>(args, lookup).Run(begin, end, cursor);
        break;
      case DType::kBF16:
        fault = Bags<HalfRow<DType::kBF16>>(args, lookup).Run(begin, end, cursor);
        break;
      default:
        fault = Bags<F32Row>(args, lookup).Run(begin, end, cursor);
    }
    if (first.lookup < 0) first = fault;
  }
  return first;
}

}  // namespace sluice::kernels::SLUICE_ISA
