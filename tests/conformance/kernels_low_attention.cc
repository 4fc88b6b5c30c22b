// Attention in bf16 against the reference on operands rounded to bf16, where the machine has it.
#include <array>
#include <cstring>
#include <limits>

#include "conformance/attention_case.h"
#include "conformance/kernel_table.h"
#include "kernels/low_attention.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;

using Shape = AttentionCase;

// Values on bf16's grid, and their bits.
struct Brain {
  std::vector<float> values;
  std::vector<uint16_t> bits;

  Brain(int64_t count, uint32_t seed, float high) : values(RandomFloats(count, seed, -high, high)) {
    for (float& x : values) {
      const tensor::BF16 rounded = tensor::ToBF16(x);
      uint16_t word = 0;
      std::memcpy(&word, &rounded, sizeof(word));
      bits.push_back(word);
      x = tensor::ToFloat(rounded);
    }
  }
};

// Operands laid out as [batch, length, heads * dim], the way a projection leaves them.
struct Operands {
  Brain q, k, v;
  AttentionArgs exact;
  LowAttentionArgs args;

  explicit Operands(const Shape& s)
      : q(s.batch * s.queries * s.heads * s.dim, 41, 2),
        k(s.batch * s.keys * s.heads * s.dim + 1, 42, 2),
        v(s.batch * s.keys * s.heads * s.value_dim + 1, 43, 1),
        exact(ArgsOf(s, q.values.data(), k.values.data(), v.values.data())) {
    Take();
  }
  void Take() {
    args.heads = exact;
    args.q = q.bits.data();
    args.k = k.bits.data();
    args.v = v.bits.data();
  }
  int64_t rows() const { return exact.batch * exact.queries; }
  int64_t width() const { return exact.heads * exact.value_dim; }
};

std::vector<float> Run(LowAttentionArgs args, int64_t count, bool tile_by_tile = false) {
  std::vector<float> out(static_cast<size_t>(count), 5.0f);
  args.heads.out = out.data();
  const int64_t tiles = LowAttentionTiles(args);
  if (tile_by_tile) {
    for (int64_t t = tiles; t-- > 0;) LowAttention(args, {t, t + 1});
  } else {
    LowAttention(args, {0, tiles});
  }
  return out;
}

void Check(Report& report, const std::string& name, const Operands& o, int64_t count) {
  const std::vector<float> got = Run(o.args, count);
  report.Compare(name, got, AttentionReference(o.exact, count));
  report.SameBits(name + " tile by tile", Run(o.args, count, true), got);
}

void CheckShapes(Report& report) {
  for (const Shape s : {Shape{1, 1, 1, 1, 32, 32},
                        {2, 3, 7, 7, 32, 32},
                        {2, 12, 128, 128, 32, 32},
                        {1, 2, 33, 50, 64, 64},
                        {2, 1, 20, 600, 64, 64},
                        {1, 1, 300, 300, 64, 64},
                        {1, 2, 17, 130, 96, 32},
                        {1, 2, 40, 257, 128, 128},
                        {1, 1, 5, 0, 32, 32},
                        {2, 2, 0, 4, 32, 32},
                        {1, 1, 1, 1030, 32, 32}}) {
    const Operands plain(s);
    const int64_t count = plain.rows() * plain.width();
    Check(report, Name(s), plain, count);

    Operands o = plain;
    o.exact.causal = true;
    for (const int64_t offset : {s.keys - s.queries, int64_t{-2}}) {
      o.exact.causal_offset = offset;
      o.Take();
      Check(report, Name(s) + " causal from " + std::to_string(offset), o, count);
    }
    if (s.queries == s.keys) {
      o = plain;
      o.exact.window_before = 40;
      o.exact.window_after = 3;
      o.Take();
      Check(report, Name(s) + " window", o, count);
    }
    if (s.heads % 2 == 0) {
      o = plain;
      o.exact.key_heads = s.heads / 2;
      o.Take();
      Check(report, Name(s) + " two heads a key head", o, count);
    }
    const std::vector<float> full = RandomFloats(s.batch * s.heads * s.queries * s.keys + 1, 44);
    o = plain;
    o.exact.mask = full.data();
    o.exact.mask_batch = s.heads * s.queries * s.keys;
    o.exact.mask_head = s.queries * s.keys;
    o.exact.mask_query = s.keys;
    o.Take();
    Check(report, Name(s) + " mask [B,H,S,S]", o, count);
    o.exact.mask_batch = s.keys;
    o.exact.mask_head = o.exact.mask_query = 0;
    o.Take();
    Check(report, Name(s) + " mask [B,1,1,S]", o, count);
    std::vector<int32_t> lengths;
    for (int64_t b = 0; b < s.batch; ++b)
      lengths.push_back(static_cast<int32_t>(b == 0 ? s.keys / 2 : s.keys));
    o = plain;
    o.exact.key_lengths = lengths.data();
    o.Take();
    Check(report, Name(s) + " key lengths", o, count);
  }
}

void CheckFullyMasked(Report& report) {
  const Shape s = {2, 2, 10, 300, 64, 64};
  for (const float value :
       {-10000.0f, std::numeric_limits<float>::lowest(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> mask(static_cast<size_t>(s.batch * s.keys), value);
    for (int64_t j = 0; j < 40; ++j) mask[static_cast<size_t>(s.keys + j + 7)] = 0;
    Operands o(s);
    o.exact.mask = mask.data();
    o.exact.mask_batch = s.keys;
    o.Take();
    Check(report, "all keys masked with " + std::to_string(value), o, o.rows() * o.width());
  }
}

// Sequences of one packed QKV buffer without padding; alone; and padded with the mask that an
// exporter makes: one result.
void CheckRaggedPaddedAndAlone(Report& report) {
  constexpr int64_t kHeads = 3, kDim = 64, kHidden = kHeads * kDim;
  const std::array<int32_t, 7> starts = {0, 17, 17, 18, 418, 450, 480};
  const int64_t tokens = starts.back(), longest = 400;
  const auto views = [](Operands& o, int64_t batch_rows) {
    o.exact.q = {o.q.values.data(), batch_rows * 3 * kHidden, kDim, 3 * kHidden};
    o.exact.k = {o.q.values.data() + kHidden, batch_rows * 3 * kHidden, kDim, 3 * kHidden};
    o.exact.v = {o.q.values.data() + 2 * kHidden, batch_rows * 3 * kHidden, kDim, 3 * kHidden};
    o.exact.out_batch = batch_rows * kHidden;
    o.Take();
    o.args.k = o.args.q + kHidden;
    o.args.v = o.args.q + 2 * kHidden;
  };
  Operands packed({static_cast<int64_t>(starts.size()) - 1, kHeads, longest, longest, kDim, kDim});
  packed.q = Brain(tokens * 3 * kHidden, 45, 2);
  packed.exact.sequence_starts = starts.data();
  views(packed, 0);
  Check(report, "ragged", packed, tokens * kHidden);
  const std::vector<float> ragged = Run(packed.args, tokens * kHidden);
  for (size_t b = 0; b + 1 < starts.size(); ++b) {
    const int64_t start = starts[b], length = starts[b + 1] - start;
    if (length == 0) continue;
    const std::span want = std::span(ragged).subspan(static_cast<size_t>(start * kHidden),
                                                     static_cast<size_t>(length * kHidden));
    LowAttentionArgs alone = packed.args;
    alone.heads.sequence_starts = nullptr;
    alone.heads.batch = 1;
    alone.heads.queries = alone.heads.keys = length;
    alone.q += start * 3 * kHidden;
    alone.k += start * 3 * kHidden;
    alone.v += start * 3 * kHidden;
    report.SameBits("a ragged sequence alone", Run(alone, length * kHidden), want);

    // The same rows in a padded batch of two whose other member is longer.
    Operands padded({2, kHeads, longest, longest, kDim, kDim});
    padded.q = Brain(2 * longest * 3 * kHidden, 46, 2);
    std::copy_n(packed.q.bits.begin() + start * 3 * kHidden, length * 3 * kHidden,
                padded.q.bits.begin());
    views(padded, longest);
    std::vector<float> mask(static_cast<size_t>(2 * longest), 0.0f);
    for (int64_t j = length; j < longest; ++j)
      mask[static_cast<size_t>(j)] = std::numeric_limits<float>::lowest();
    padded.args.heads.mask = mask.data();
    padded.args.heads.mask_batch = longest;
    std::vector<float> got = Run(padded.args, 2 * longest * kHidden);
    got.resize(static_cast<size_t>(length * kHidden));
    report.SameBits("a ragged sequence padded and masked", got, want);
    const std::array<int32_t, 2> lengths = {static_cast<int32_t>(length), longest};
    padded.args.heads.mask = nullptr;
    padded.args.heads.key_lengths = lengths.data();
    got = Run(padded.args, 2 * longest * kHidden);
    got.resize(static_cast<size_t>(length * kHidden));
    report.SameBits("a ragged sequence padded with a length", got, want);
  }
}

// A result that is prepared at once has the bits of one that is stored and prepared.
void CheckPrepared(Report& report) {
  for (const Shape s : {Shape{3, 12, 128, 128, 32, 32}, {1, 2, 45, 45, 64, 96}}) {
    Operands o(s);
    std::vector<float> f32 = Run(o.args, o.rows() * o.width());
    for (const LowPath path : {LowPath::kBF16Tiles, LowPath::kVnni}) {
      const int64_t stride = LowRowBytes(o.width(), path);
      const auto fresh = [&] {
        return std::vector<std::byte>(static_cast<size_t>(o.rows() * stride));
      };
      std::vector<std::byte> want = fresh(), got = fresh();
      std::vector<float> scales(static_cast<size_t>(2 * o.rows())), zeros = scales;
      PrepareRowsArgs prepare;
      prepare.m = o.rows();
      prepare.k = o.width();
      prepare.a = f32.data();
      prepare.a_stride = o.width();
      prepare.rows = {want.data(), stride, scales.data(), zeros.data()};
      prepare.path = path;
      prepare.target = Target::kAvx512;
      PrepareRows(prepare, {0, PrepareRowsTiles(prepare)});
      LowAttentionArgs args = o.args;
      args.rows = {got.data(), stride, scales.data() + o.rows(), zeros.data() + o.rows()};
      args.rows_path = path;
      (void)Run(args, o.rows() * o.width(), true);
      bool same = want == got;
      for (int64_t i = 0; path == LowPath::kVnni && i < o.rows(); ++i) {
        const auto row = static_cast<size_t>(i), other = static_cast<size_t>(i + o.rows());
        same = same && scales[row] == scales[other] && zeros[row] == zeros[other];
      }
      report.Expect(Name(s) + " prepared for " + LowPathName(path), same);
    }
  }
}

void CheckLowAttention(Report& report) {
  if (!HasLowAttention()) return;
  CheckShapes(report);
  CheckFullyMasked(report);
  CheckRaggedPaddedAndAlone(report);
  CheckPrepared(report);
}

void MeasureLowAttention(Perf& perf) {
  if (!HasLowAttention()) return;
  for (const Shape s : {Shape{1, 12, 32, 32, 32, 32},
                        {1, 12, 128, 128, 32, 32},
                        {16, 12, 128, 128, 32, 32},
                        {16, 12, 128, 128, 64, 64},
                        {1, 12, 512, 512, 64, 64}}) {
    Operands o(s);
    std::vector<float> out(static_cast<size_t>(o.rows() * o.width()));
    o.args.heads.out = out.data();
    perf.Measure(Name(s), LowAttentionWork(o.args), {Roof::Kind::kDots, 0, LowPath::kBF16Tiles},
                 [&] {
                   LowAttention(o.args, {0, LowAttentionTiles(o.args)});
                 });
  }
}

constexpr std::array kKernels = {Kernel{"low_attention", CheckLowAttention, MeasureLowAttention}};

}  // namespace

std::span<const Kernel> LowAttentionKernels() {
  return kKernels;
}

}  // namespace sluice::conformance
