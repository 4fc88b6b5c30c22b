// Compiled once per target: rows of many tables by checked id, alone or summed in bags. Rows lie
// anywhere, so their loads must overlap: little stands between one and the next, and rows to come
// are asked for, those of the next tables too.
#include "kernels/cpu/embedding_bag.h"

#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

constexpr int64_t kCacheLine = 64;
// Lines that are asked for ahead of their use: about what L2 can have in flight. Into L2 alone: L1
// waits for fewer, and from L2 the core hides what is left.
constexpr int64_t kAheadLines = 96;
constexpr int64_t kAheadRows = 32;
// Lines of one row; the hardware follows from there.
constexpr int64_t kRowLines = 16;
// Rows of a table that a part of L2 holds cost more to ask for than to wait for.
constexpr int64_t kSmallTable = 1 << 20;

template <class T>
HWY_INLINE const T* At(const LookupsArgs& args, const LookupPlace& place) {
  return reinterpret_cast<const T*>(static_cast<const char*>(args.bases[place.base]) +
                                    place.offset);
}

HWY_INLINE int64_t ElementBytes(DType type) {
  return type == DType::kF32 ? 4 : 2;
}

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t Max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// One look-up with its pointers resolved.
struct Table {
  const char* rows_at;
  const char* ids;
  const int64_t* offsets;  // null: bag_size ids each
  const Lookup* lookup;
  int64_t row_bytes;
  int64_t rows;
  int64_t fetched_bytes;  // of each row that is asked for
  int64_t ahead;          // rows; 0: none

  Table(const LookupsArgs& args, const Lookup& of)
      : rows_at(static_cast<const char*>(of.table.data)),
        ids(At<char>(args, of.ids)),
        offsets(of.offsets.base < 0 ? nullptr : At<int64_t>(args, of.offsets)),
        lookup(&of),
        row_bytes(of.table.columns * ElementBytes(of.table.dtype)),
        rows(of.table.rows),
        fetched_bytes(Min(row_bytes, kRowLines * kCacheLine)),
        ahead(rows * row_bytes <= kSmallTable
                  ? 0
                  : Max(4, Min(kAheadRows, kAheadLines / (row_bytes / kCacheLine + 1)))) {}

  template <bool kWide>
  HWY_INLINE int64_t RawId(int64_t element) const {
    return kWide ? reinterpret_cast<const int64_t*>(ids)[element]
                 : reinterpret_cast<const int32_t*>(ids)[element];
  }
  // The row that an id names, or -1.
  HWY_INLINE int64_t Row(int64_t raw) const {
    const int64_t row = raw < 0 ? raw + rows : raw;
    return static_cast<uint64_t>(row) < static_cast<uint64_t>(rows) ? row : -1;
  }
  int64_t Begin(int64_t bag) const { return offsets == nullptr ? 0 : offsets[bag]; }
  int64_t End(const LookupsArgs& args, int64_t bag) const {
    if (offsets == nullptr) return lookup->bag_size;
    return lookup->closed || bag + 1 < args.rows ? offsets[bag + 1] : lookup->id_count;
  }
  // The element of a bag's id 0.
  HWY_INLINE int64_t Element(int64_t bag) const {
    return offsets == nullptr ? bag * lookup->ids_bag : 0;
  }
  template <bool kWide>
  HWY_INLINE void Fetch(int64_t element) const {
    const int64_t row = Row(RawId<kWide>(element));
    if (row < 0) return;
    const char* const from = rows_at + row * row_bytes;
    for (int64_t b = 0; b < fetched_bytes; b += kCacheLine) __builtin_prefetch(from + b, 0, 2);
  }
  // How many bags ahead rows are asked for; 0: ids of the same bag.
  int64_t AheadBags() const {
    constexpr int64_t kLong = 4;
    if (offsets != nullptr || lookup->bag_size > kLong * ahead) return 0;
    return (ahead + lookup->bag_size - 1) / Max(1, lookup->bag_size);
  }
};

// Goes over the look-ups of bags [begin, end) some lines ahead of the work and asks for the rows
// that each begins with.
class Leader {
 public:
  Leader(const LookupsArgs& args, int64_t begin, int64_t end)
      : args_(args), begin_(begin), end_(end) {}

  // The work on look-up `at` begins.
  void Lead(int64_t at) {
    for (; next_ < args_.count && (next_ <= at || lines_ < kAheadLines); ++next_) {
      const Table table(args_, args_.lookups[next_]);
      table.lookup->wide_ids ? Fetch<true>(table) : Fetch<false>(table);
      lines_ += Lines(table);
    }
    lines_ -= Lines(Table(args_, args_.lookups[at]));
  }

 private:
  // About how many Fetch asks for.
  int64_t Lines(const Table& table) const {
    const int64_t bags = table.AheadBags();
    const int64_t rows =
        bags == 0 ? table.ahead : Min(end_ - begin_, bags) * table.lookup->bag_size;
    return rows * ((table.fetched_bytes + kCacheLine - 1) / kCacheLine);
  }

  template <bool kWide>
  void Fetch(const Table& table) const {
    if (table.ahead == 0) return;
    const int64_t bags = table.AheadBags();
    const int64_t stop = bags == 0 ? begin_ + 1 : Min(end_, begin_ + bags);
    for (int64_t bag = begin_; bag < stop; ++bag) {
      const int64_t first = table.Begin(bag);
      int64_t last = table.End(args_, bag);
      if (bags == 0) last = Min(last, first + table.ahead);
      for (int64_t i = first; i < last; ++i)
        table.Fetch<kWide>(table.Element(bag) + i * table.lookup->ids_step);
    }
  }

  const LookupsArgs& args_;
  const int64_t begin_;
  const int64_t end_;
  int64_t next_ = 0;
  int64_t lines_ = 0;  // asked for and not used yet
};

// Vectors of a row of each type; Part reads the first lanes alone and gives zeros behind.
struct F32Row {
  const float* at;
  explicit F32Row(const char* row) : at(reinterpret_cast<const float*>(row)) {}
  HWY_INLINE VF operator()(int64_t i) const { return hn::LoadU(F32(), at + i); }
  HWY_INLINE float One() const { return at[0]; }
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
  HWY_INLINE float One() const { return WidenOne(kType, at, 0); }
  template <class M>
  HWY_INLINE VF Part(int64_t i, M, int64_t lanes) const {
    alignas(64) float part[16] = {};
    for (int64_t k = 0; k < lanes; ++k) part[k] = WidenOne(kType, at, i + k);
    return hn::Load(F32(), part);
  }
};

// The bags [begin, end) of one look-up.
template <class Row, bool kWide>
class Bags {
 public:
  Bags(const LookupsArgs& args, const Lookup& lookup)
      : args_(args),
        table_(args, lookup),
        lookup_(lookup),
        ahead_bags_(table_.AheadBags()),
        weights_(lookup.weights.base < 0 ? nullptr : At<float>(args, lookup.weights)),
        y_(reinterpret_cast<float*>(static_cast<char*>(args.bases[lookup.y.base]) +
                                    lookup.y.offset)) {}

  LookupFault Run(int64_t begin, int64_t end) {
    if (table_.offsets == nullptr && lookup_.bag_size == 1 && weights_ == nullptr) {
      lookup_.table.columns == 1 ? Singles<true>(begin, end) : Singles<false>(begin, end);
      return fault_;
    }
    const auto lanes = static_cast<int64_t>(hn::Lanes(F32()));
    const int64_t n = lookup_.table.columns;
    const int64_t ids_end = table_.offsets == nullptr ? 0 : table_.End(args_, end - 1);
    for (bag_ = begin; bag_ < end; ++bag_) {
      first_ = table_.Begin(bag_);
      last_ = table_.End(args_, bag_);
      float* const y = y_ + bag_ * lookup_.y_stride;
      // Rows are asked for with the first pass over the bag alone.
      if (table_.ahead == 0) {
        fetch_end_ = first_;
      } else if (ahead_bags_ > 0) {
        fetch_end_ = bag_ + ahead_bags_ < end ? last_ : first_;
        fetch_step_ = ahead_bags_ * lookup_.ids_bag;
      } else {
        fetch_end_ = Min(last_, (table_.offsets == nullptr ? last_ : ids_end) - table_.ahead);
        fetch_step_ = table_.ahead * lookup_.ids_step;
      }
      int64_t c = 0;
      for (; c + 8 * lanes <= n; c += 8 * lanes) Vectors<8>(c, y);
      if (c + 4 * lanes <= n) Vectors<4>(c, y), c += 4 * lanes;
      if (c + 2 * lanes <= n) Vectors<2>(c, y), c += 2 * lanes;
      if (c + lanes <= n) Vectors<1>(c, y), c += lanes;
      if (c < n) Tail(c, n - c, y);
    }
    return fault_;
  }

 private:
  void Fail(int64_t i, int64_t raw) {
    if (fault_.lookup >= 0) return;
    const int64_t position = table_.offsets == nullptr ? bag_ * lookup_.bag_size + i : i;
    fault_ = {&lookup_ - args_.lookups, false, position, raw, table_.rows};
  }

  // One id a bag. A number alone is stored as such: a vector's store, masked as it may be, would
  // keep the next bag's load waiting where look-ups add up, and with it the rows behind.
  template <bool kNumbers>
  void Singles(int64_t begin, int64_t end) {
    const F32 d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const Table table = table_;
    const int64_t columns = lookup_.table.columns;
    const int64_t whole = columns / lanes * lanes;
    const auto rest = hn::FirstN(d, static_cast<size_t>(columns - whole));
    const bool adds = lookup_.accumulates;
    const int64_t ids_bag = lookup_.ids_bag;
    const int64_t y_stride = lookup_.y_stride;
    const int64_t fetch_end = table.ahead == 0 ? begin : end - table.ahead;
    float* y = y_ + begin * y_stride;
    for (int64_t bag = begin; bag < end; ++bag, y += y_stride) {
      if (bag < fetch_end) table.Fetch<kWide>((bag + table.ahead) * ids_bag);
      const int64_t raw = table.RawId<kWide>(bag * ids_bag);
      const int64_t row = table.Row(raw);
      if (HWY_UNLIKELY(row < 0)) {
        bag_ = bag;
        Fail(0, raw);
        continue;
      }
      const Row from(table.rows_at + row * table.row_bytes);
      if constexpr (kNumbers) {
        const float x = 0.0F + from.One();
        *y = adds ? *y + x : x;
      } else {
        const VF zero = hn::Zero(d);
        int64_t c = 0;
        for (; c < whole; c += lanes) {
          const VF x = hn::Add(zero, from(c));
          hn::StoreU(adds ? hn::Add(hn::LoadU(d, y + c), x) : x, d, y + c);
        }
        if (c == columns) continue;
        const VF x = hn::Add(zero, from.Part(c, rest, columns - c));
        hn::BlendedStore(adds ? hn::Add(hn::MaskedLoad(rest, d, y + c), x) : x, rest, d, y + c);
      }
    }
  }

  template <class Add>
  HWY_INLINE void ForRows(Add add) {
    const int64_t step = lookup_.ids_step;
    const int64_t fetch_step = fetch_step_;
    const int64_t fetch_end = fetch_end_;
    const int64_t last = last_;
    fetch_end_ = first_;
    int64_t element = table_.Element(bag_) + first_ * step;
    for (int64_t i = first_; i < last; ++i, element += step) {
      if (i < fetch_end) table_.Fetch<kWide>(element + fetch_step);
      const int64_t raw = table_.RawId<kWide>(element);
      const int64_t row = table_.Row(raw);
      if (HWY_UNLIKELY(row < 0)) {
        Fail(i, raw);
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
  const int64_t ahead_bags_;
  const float* const weights_;
  float* const y_;
  int64_t bag_ = 0;
  int64_t first_ = 0;
  int64_t last_ = 0;
  int64_t fetch_end_ = 0;   // ids of the bag before it ask for
  int64_t fetch_step_ = 0;  // the element so far behind
  LookupFault fault_;
};

template <class Row>
LookupFault RunBags(const LookupsArgs& args, const Lookup& lookup, int64_t begin, int64_t end) {
  return lookup.wide_ids ? Bags<Row, true>(args, lookup).Run(begin, end)
                         : Bags<Row, false>(args, lookup).Run(begin, end);
}

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
  Leader leader(args, begin, end);
  LookupFault first;
  for (int64_t i = 0; i < args.count; ++i) {
    leader.Lead(i);
    const Lookup& lookup = args.lookups[i];
    LookupFault fault;
    switch (lookup.table.dtype) {
      case DType::kF16:
        fault = RunBags<HalfRow<DType::kF16>>(args, lookup, begin, end);
        break;
      case DType::kBF16:
        fault = RunBags<HalfRow<DType::kBF16>>(args, lookup, begin, end);
        break;
      default:
        fault = RunBags<F32Row>(args, lookup, begin, end);
    }
    if (first.lookup < 0) first = fault;
  }
  return first;
}

}  // namespace sluice::kernels::SLUICE_ISA
