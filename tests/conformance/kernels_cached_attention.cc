// Attention over cached blocks and the writing of them against their references, on the active
// target.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/cached_attention.h"
#include "kernels/ref/cached_attention.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::DType;

struct Heads {
  int64_t heads, key_heads, dim;
};
// Grouped and single heads, more than a strip of them, dims of one vector and of several.
constexpr std::array kHeads = {Heads{4, 4, 32}, Heads{14, 2, 64}, Heads{32, 1, 16},
                               Heads{8, 4, 8},  Heads{6, 2, 80},  Heads{8, 4, 256}};
constexpr std::array kTypes = {DType::kF32, DType::kF16, DType::kBF16};

// Blocks of one layer, each surrounded by what belongs to other layers, filled with NaN: what was
// never written must not matter.
class Cache {
 public:
  Cache(DType type, Heads heads, int64_t blocks) {
    layer_.type = type;
    layer_.heads = heads.key_heads;
    layer_.dim = heads.dim;
    layer_.block_bytes = CacheLayerBytes(type, heads.key_heads, heads.dim) + 128;
    memory_.assign(static_cast<size_t>(blocks * layer_.block_bytes + 128), std::byte{0xff});
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    layer_.data = memory_.data() + (64 - address % 64) % 64;
  }
  Cache(const Cache&) = delete;
  const CacheLayer& layer() const { return layer_; }
  bool SameBytes(const Cache& other) const {
    return std::memcmp(layer_.data, other.layer_.data, memory_.size() - 128) == 0;
  }

 private:
  std::vector<std::byte> memory_;
  CacheLayer layer_;
};

// Sequences of given lengths in shuffled blocks.
struct Tables {
  std::vector<std::vector<int32_t>> blocks;
  int64_t count = 0;

  explicit Tables(std::span<const int64_t> lengths) {
    for (const int64_t n : lengths) count += (n + kCacheBlockRows - 1) / kCacheBlockRows;
    std::vector<int32_t> all(static_cast<size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), std::mt19937(31));
    auto next = all.begin();
    for (const int64_t n : lengths) {
      const auto end = next + (n + kCacheBlockRows - 1) / kCacheBlockRows;
      blocks.emplace_back(next, end);
      next = end;
    }
  }
  CacheSlot SlotOf(size_t sequence, int64_t position) const {
    return {blocks[sequence][static_cast<size_t>(position / kCacheBlockRows)],
            static_cast<int32_t>(position % kCacheBlockRows)};
  }
};

// Rows of all sequences one behind the other, sequence s from its begins[s] on.
struct Rows {
  std::vector<CacheSlot> slots;
  std::vector<CachedRows> sequences;

  Rows(const Tables& tables, std::span<const int64_t> begins, std::span<const int64_t> lengths) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      CachedRows rows;
      rows.first_row = static_cast<int64_t>(slots.size());
      rows.rows = lengths[s] - begins[s];
      rows.position = begins[s];
      rows.blocks = tables.blocks[s].data();
      for (int64_t p = begins[s]; p < lengths[s]; ++p) slots.push_back(tables.SlotOf(s, p));
      if (rows.rows > 0) sequences.push_back(rows);
    }
  }
};

struct Angles {
  std::vector<float> cos, sin;
  Angles(int64_t rows, int64_t half) {
    for (const float angle : RandomFloats(rows * half, 34, -3, 3)) {
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
  }
};

std::string NameOf(DType type, Heads heads) {
  return std::string(DTypeName(type)) + " " + std::to_string(heads.heads) + "/" +
         std::to_string(heads.key_heads) + "x" + std::to_string(heads.dim);
}

void CheckOneWrite(Report& report, DType type, Heads heads, int variant) {
  constexpr std::array<int64_t, 2> kLengths = {45, 9};
  const Tables tables(kLengths);
  const Rows rows(tables, std::array<int64_t, 2>{3, 0}, kLengths);
  const auto count = static_cast<int64_t>(rows.slots.size());
  const int64_t width = (heads.heads + 2 * heads.key_heads) * heads.dim;
  const int64_t stride = width + 5;
  const std::vector<float> qkv = RandomFloats(count * stride, 32);
  const std::vector<float> scales = RandomFloats(2 * heads.dim, 33, 0.5f, 1.5f);
  CacheWriteArgs args;
  args.rows = count;
  args.heads = heads.heads;
  args.qkv_row = stride;
  args.slots = rows.slots.data();
  args.query_scale = (variant & 1) != 0 ? scales.data() : nullptr;
  args.key_scale = (variant & 1) != 0 ? scales.data() + heads.dim : nullptr;
  args.turned = (variant & 2) != 0 ? heads.dim : heads.dim / 4 * 2;
  args.interleaved = (variant & 4) != 0;
  const Angles angles(count, args.turned / 2);
  args.cos = angles.cos.data();
  args.sin = angles.sin.data();
  Guarded got(count * stride), want(count * stride);
  std::copy(qkv.begin(), qkv.end(), got.data());
  std::copy(qkv.begin(), qkv.end(), want.data());
  Cache mine(type, heads, tables.count), theirs(type, heads, tables.count);
  args.qkv = got.data();
  args.layer = mine.layer();
  RunBackwards(CacheWriteTiles, CacheWrite, args);
  args.qkv = want.data();
  args.layer = theirs.layer();
  ref::CacheWrite(args);
  const std::string name = NameOf(type, heads) + " variant " + std::to_string(variant);
  report.Compare(name, got.values(), want.values());
  report.Expect(name + " stays inside", got.intact());
  // What is stored is what stands in the rows, in the cache's type.
  CacheWriteArgs stored = args;
  stored.query_scale = stored.key_scale = nullptr;
  stored.turned = 0;
  Cache exact(type, heads, tables.count);
  stored.qkv = got.data();
  stored.layer = exact.layer();
  ref::CacheWrite(stored);
  report.Expect(name + " stored", mine.SameBytes(exact));
}

void CheckCacheWrite(Report& report) {
  for (const DType type : kTypes) {
    for (const Heads heads : kHeads) {
      for (int variant = 0; variant < 8; ++variant) CheckOneWrite(report, type, heads, variant);
    }
  }
}

struct Variant {
  const char* name;
  float cap;
  int64_t window;
};
constexpr std::array kVariants = {Variant{"plain", 0, 0}, Variant{"capped", 5, 0},
                                  Variant{"window 7", 0, 7}, Variant{"window 40", 0, 40}};

// Fills a cache with all rows of all sequences and attends to the rows from `begins` on.
class Attended {
 public:
  Attended(DType type, Heads heads, const Tables& tables, std::span<const int64_t> lengths)
      : heads_(heads),
        lengths_(lengths.begin(), lengths.end()),
        tables_(tables),
        cache_(type, heads, tables.count) {
    const std::vector<int64_t> zeros(lengths.size());
    const Rows all(tables, zeros, lengths);
    const auto rows = static_cast<int64_t>(all.slots.size());
    row_ = (heads.heads + 2 * heads.key_heads) * heads.dim;
    qkv_ = RandomFloats(rows * row_, 36);
    CacheWriteArgs write;
    write.rows = rows;
    write.heads = heads.heads;
    write.qkv = qkv_.data();
    write.qkv_row = row_;
    write.slots = all.slots.data();
    write.layer = cache_.layer();
    RunWhole(CacheWriteTiles, CacheWrite, write);
  }

  // Args for `rows`, queries at their sequences' own places in all rows.
  CachedAttentionArgs Args(Rows& rows, const Variant& variant, float* out) {
    int64_t before = 0;
    size_t s = 0;
    for (CachedRows& one : rows.sequences) {
      while (tables_.blocks[s].data() != one.blocks) {
        before += lengths_[s++];
      }
      one.first_row = before + one.position;
    }
    CachedAttentionArgs args;
    args.sequences = rows.sequences.data();
    args.sequence_count = static_cast<int64_t>(rows.sequences.size());
    args.heads = heads_.heads;
    args.q = qkv_.data();
    args.q_row = row_;
    args.out = out;
    args.out_row = heads_.heads * heads_.dim;
    args.layer = cache_.layer();
    args.scale = 1.0f / std::sqrt(static_cast<float>(heads_.dim)) * 3;
    args.cap = variant.cap;
    args.window = variant.window;
    args.tiles = PlanCachedAttention(rows.sequences.data(), args.sequence_count, heads_.heads,
                                     heads_.key_heads);
    return args;
  }
  int64_t out_count() const {
    return std::accumulate(lengths_.begin(), lengths_.end(), int64_t{0}) * heads_.heads *
           heads_.dim;
  }

 private:
  Heads heads_;
  std::vector<int64_t> lengths_;
  const Tables& tables_;
  Cache cache_;
  std::vector<float> qkv_;
  int64_t row_ = 0;
};

void CheckOneAttention(Report& report, DType type, Heads heads, const Variant& variant) {
  constexpr std::array<int64_t, 4> kLengths = {1, 77, 33, 64};
  const Tables tables(kLengths);
  Attended attended(type, heads, tables, kLengths);
  const std::string name = NameOf(type, heads) + " " + variant.name;
  Rows all(tables, std::array<int64_t, 4>{}, kLengths);
  Guarded whole(attended.out_count()), want(attended.out_count());
  CachedAttentionArgs args = attended.Args(all, variant, whole.data());
  RunWhole(CachedAttentionTiles, CachedAttention, args);
  args.out = want.data();
  ref::CachedAttention(args);
  report.Compare(name, whole.values(), want.values());
  report.Expect(name + " stays inside", whole.intact());
  // The same bits tile by tile, and in every cut of the sequences into steps.
  Guarded pieces(attended.out_count());
  args.out = pieces.data();
  RunBackwards(CachedAttentionTiles, CachedAttention, args);
  report.SameBits(name + " tile by tile", pieces.values(), whole.values());
  std::array<int64_t, 4> begins = {};
  std::mt19937 random(37);
  Guarded cut(attended.out_count());
  while (begins != kLengths) {
    std::array<int64_t, 4> ends = begins;
    for (size_t s = 0; s < ends.size(); ++s) {
      const int64_t step = random() % 3 == 0 ? 1 : static_cast<int64_t>(random() % 40);
      ends[s] = std::min(kLengths[s], ends[s] + step);
    }
    Rows rows(tables, begins, ends);
    const CachedAttentionArgs part = attended.Args(rows, variant, cut.data());
    RunWhole(CachedAttentionTiles, CachedAttention, part);
    begins = ends;
  }
  report.SameBits(name + " in steps", cut.values(), whole.values());
}

void CheckCachedAttention(Report& report) {
  for (const DType type : kTypes) {
    for (const Heads heads : kHeads) {
      for (const Variant& variant : kVariants) CheckOneAttention(report, type, heads, variant);
    }
  }
}

void MeasureCachedAttention(Perf& perf) {
  constexpr Heads kQwen = {14, 2, 64};
  for (const auto& [rows, position] : {std::pair<int64_t, int64_t>{512, 0}, {1, 511}, {1, 4095}}) {
    const std::array<int64_t, 1> length = {rows + position};
    const Tables tables(length);
    Attended attended(DType::kF16, kQwen, tables, length);
    Rows own(tables, std::array<int64_t, 1>{position}, length);
    std::vector<float> out(static_cast<size_t>(attended.out_count()));
    const CachedAttentionArgs args = attended.Args(own, kVariants[0], out.data());
    perf.Measure(std::to_string(rows) + " rows at " + std::to_string(position) + " 14/2x64 f16",
                 CachedAttentionWork(args), Roof{},
                 [&] { RunWhole(CachedAttentionTiles, CachedAttention, args); });
  }
}

}  // namespace

std::span<const Kernel> CachedAttentionKernels() {
  static constexpr std::array kTable = {
      Kernel{"cache_write", CheckCacheWrite, nullptr},
      Kernel{"cached_attention", CheckCachedAttention, MeasureCachedAttention},
  };
  return kTable;
}

}  // namespace sluice::conformance
