// Attention against its reference, on the active target.
#include <algorithm>
#include <array>
#include <limits>

#include "conformance/attention_case.h"
#include "conformance/huge_floats.h"
#include "conformance/kernel_table.h"
#include "kernels/attention.h"

namespace sluice::conformance {
namespace {

using kernels::AttentionArgs;
using kernels::AttentionTiles;

using Shape = AttentionCase;

// Operands laid out as [batch, length, heads * dim], the way a projection leaves them.
struct Operands {
  std::vector<float> q, k, v;
  AttentionArgs args;

  explicit Operands(const Shape& s)
      : q(RandomFloats(s.batch * s.queries * s.heads * s.dim, 31, -2, 2)),
        k(RandomFloats(s.batch * s.keys * s.heads * s.dim + 1, 32, -2, 2)),
        v(RandomFloats(s.batch * s.keys * s.heads * s.value_dim + 1, 33)),
        args(ArgsOf(s, q.data(), k.data(), v.data())) {}
  int64_t out_count() const { return args.batch * args.out_batch; }
};

std::vector<float> Run(AttentionArgs args, int64_t count, bool tile_by_tile = false) {
  std::vector<float> out(static_cast<size_t>(count), 5.0f);
  args.out = out.data();
  const int64_t tiles = AttentionTiles(args);
  if (tile_by_tile) {
    for (int64_t t = tiles; t-- > 0;) Attention(args, {t, t + 1});
  } else {
    Attention(args, {0, tiles});
  }
  return out;
}

void Check(Report& report, const std::string& name, const AttentionArgs& args, int64_t count) {
  const std::vector<float> got = Run(args, count);
  report.Compare(name, got, AttentionReference(args, count));
  report.SameBits(name + " tile by tile", Run(args, count, true), got);
}

void CheckShapes(Report& report) {
  for (const Shape s : {Shape{1, 1, 1, 1, 1, 1},
                        {2, 3, 7, 7, 32, 32},
                        {1, 2, 128, 128, 32, 32},
                        {1, 2, 33, 50, 64, 64},
                        {2, 1, 20, 600, 64, 64},
                        {1, 1, 300, 300, 64, 64},
                        {1, 2, 17, 130, 80, 48},
                        {1, 2, 40, 200, 128, 128},
                        {1, 1, 9, 70, 17, 5},
                        {1, 1, 6, 100, 300, 520},
                        {1, 1, 5, 0, 16, 16},
                        {2, 2, 0, 4, 16, 16},
                        {1, 1, 1, 1030, 32, 32}}) {
    Operands o(s);
    Check(report, Name(s), o.args, o.out_count());

    AttentionArgs causal = o.args;
    causal.causal = true;
    causal.causal_offset = s.keys - s.queries;
    Check(report, Name(s) + " causal", causal, o.out_count());
    causal.causal_offset = -2;
    Check(report, Name(s) + " causal, the first rows see nothing", causal, o.out_count());

    const std::vector<float> full = RandomFloats(s.batch * s.heads * s.queries * s.keys + 1, 34);
    AttentionArgs masked = o.args;
    masked.mask = full.data();
    masked.mask_batch = s.heads * s.queries * s.keys;
    masked.mask_head = s.queries * s.keys;
    masked.mask_query = s.keys;
    Check(report, Name(s) + " mask [B,H,S,S]", masked, o.out_count());
    masked.mask_batch = s.queries * s.keys;
    masked.mask_head = 0;
    Check(report, Name(s) + " mask [B,1,S,S]", masked, o.out_count());
    masked.mask_batch = s.keys;
    masked.mask_query = 0;
    Check(report, Name(s) + " mask [B,1,1,S]", masked, o.out_count());

    std::vector<int32_t> lengths;
    for (int64_t b = 0; b < s.batch; ++b) {
      lengths.push_back(static_cast<int32_t>(b == 0 ? s.keys / 2 : s.keys));
    }
    AttentionArgs shorter = o.args;
    shorter.key_lengths = lengths.data();
    Check(report, Name(s) + " key lengths", shorter, o.out_count());
  }
}

// Masks that exclude every key of a sequence.
void CheckFullyMasked(Report& report) {
  const Shape s = {2, 2, 10, 300, 64, 64};
  Operands o(s);
  for (const float value :
       {-10000.0f, std::numeric_limits<float>::lowest(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> mask(static_cast<size_t>(s.batch * s.keys), value);
    for (int64_t j = 0; j < 40; ++j) mask[static_cast<size_t>(s.keys + j + 7)] = 0;
    AttentionArgs args = o.args;
    args.mask = mask.data();
    args.mask_batch = s.keys;
    Check(report, "all keys masked with " + std::to_string(value), args, o.out_count());
  }
}

// The first block of keys hardly counts, by masks on both sides of the bound where maxima are no
// longer multiplied with log2(e), and its outputs shrink to nothing.
void CheckShrinkingBlocks(Report& report) {
  const Shape s = {1, 2, 10, 300, 64, 64};
  Operands o(s);
  for (const float value : {-30.0f, -1e6f, -3e6f, std::numeric_limits<float>::lowest()}) {
    std::vector<float> mask(static_cast<size_t>(s.keys), 0.0f);
    std::fill_n(mask.begin(), 256, value);
    AttentionArgs args = o.args;
    args.mask = mask.data();
    Check(report, "a first block masked with " + std::to_string(value), args, o.out_count());
  }
}

void CheckGroupedHeads(Report& report) {
  const Shape s = {2, 6, 9, 40, 32, 32};
  Operands o(s);
  o.args.key_heads = 2;
  Check(report, "six heads over two key heads", o.args, o.out_count());
}

// Sequences of one packed QKV buffer without padding; alone; and padded with the mask that an
// exporter makes: one result.
void CheckRaggedPaddedAndAlone(Report& report) {
  constexpr int64_t kHeads = 3, kDim = 64, kHidden = kHeads * kDim;
  for (const bool causal : {false, true}) {
    const std::array<int32_t, 6> starts = {0, 17, 17, 18, 418, 450};
    const int64_t tokens = starts.back(), longest = 400;
    const std::vector<float> qkv = RandomFloats(tokens * 3 * kHidden, 35, -2, 2);
    AttentionArgs args;
    args.batch = static_cast<int64_t>(starts.size()) - 1;
    args.heads = kHeads;
    args.queries = args.keys = longest;
    args.dim = args.value_dim = kDim;
    args.q = {qkv.data(), 0, kDim, 3 * kHidden};
    args.k = {qkv.data() + kHidden, 0, kDim, 3 * kHidden};
    args.v = {qkv.data() + 2 * kHidden, 0, kDim, 3 * kHidden};
    args.out_head = kDim;
    args.out_row = kHidden;
    args.scale = 0.125f;
    args.causal = causal;
    args.sequence_starts = starts.data();
    Check(report, "ragged", args, tokens * kHidden);
    const std::vector<float> ragged = Run(args, tokens * kHidden);

    for (int64_t b = 0; b < args.batch; ++b) {
      const int64_t start = starts[static_cast<size_t>(b)];
      const int64_t length = starts[static_cast<size_t>(b) + 1] - start;
      const std::span want = std::span(ragged).subspan(static_cast<size_t>(start * kHidden),
                                                       static_cast<size_t>(length * kHidden));
      AttentionArgs alone = args;
      alone.sequence_starts = nullptr;
      alone.batch = 1;
      alone.queries = alone.keys = length;
      alone.q.data += start * 3 * kHidden;
      alone.k.data += start * 3 * kHidden;
      alone.v.data += start * 3 * kHidden;
      report.SameBits("a ragged sequence alone", Run(alone, length * kHidden), want);

      if (length == 0) continue;
      // The same rows in a padded batch of two whose other member is longer.
      std::vector<float> padded = RandomFloats(2 * longest * 3 * kHidden, 36, -2, 2);
      std::copy_n(qkv.begin() + start * 3 * kHidden, length * 3 * kHidden, padded.begin());
      std::vector<float> mask(static_cast<size_t>(2 * longest), 0.0f);
      for (int64_t j = length; j < longest; ++j) {
        mask[static_cast<size_t>(j)] = std::numeric_limits<float>::lowest();
      }
      AttentionArgs in_company = alone;
      in_company.batch = 2;
      in_company.queries = in_company.keys = longest;
      in_company.q = {padded.data(), longest * 3 * kHidden, kDim, 3 * kHidden};
      in_company.k = {padded.data() + kHidden, longest * 3 * kHidden, kDim, 3 * kHidden};
      in_company.v = {padded.data() + 2 * kHidden, longest * 3 * kHidden, kDim, 3 * kHidden};
      in_company.out_batch = longest * kHidden;
      in_company.mask = mask.data();
      in_company.mask_batch = longest;
      std::vector<float> got = Run(in_company, 2 * longest * kHidden);
      got.resize(static_cast<size_t>(length * kHidden));
      report.SameBits("a ragged sequence padded and masked", got, want);
      const std::array<int32_t, 2> lengths = {static_cast<int32_t>(length), longest};
      in_company.mask = nullptr;
      in_company.key_lengths = lengths.data();
      got = Run(in_company, 2 * longest * kHidden);
      got.resize(static_cast<size_t>(length * kHidden));
      report.SameBits("a ragged sequence padded with a length", got, want);
    }
  }
}

// Biases by content and distance over packed rows, in company and alone.
void CheckRelativeBiases(Report& report) {
  constexpr int64_t kHeads = 2, kDim = 24, kHidden = kHeads * kDim, kColumns = 40, kReach = 330;
  const std::array<int32_t, 6> starts = {0, 1, 31, 31, 331, 350};
  const int64_t tokens = starts.back();
  const std::vector<float> q = RandomFloats(tokens * kHidden, 41, -2, 2);
  const std::vector<float> k = RandomFloats(tokens * kHidden, 42, -2, 2);
  const std::vector<float> v = RandomFloats(tokens * kHidden, 43);
  const std::vector<float> by_query = RandomFloats(kHeads * tokens * kColumns, 44, -3, 3);
  const std::vector<float> by_key = RandomFloats(kHeads * tokens * kColumns, 45, -3, 3);
  std::vector<int32_t> columns, mirrored;
  for (int64_t d = 0; d < 2 * kReach - 1; ++d) {
    columns.push_back(static_cast<int32_t>(std::clamp<int64_t>(d - kReach + 21, 0, kColumns - 1)));
    mirrored.push_back(static_cast<int32_t>(kColumns - 1) - columns.back());
  }
  AttentionArgs args;
  args.batch = static_cast<int64_t>(starts.size()) - 1;
  args.heads = kHeads;
  args.queries = args.keys = kReach;
  args.dim = args.value_dim = kDim;
  args.q = {q.data(), 0, kDim, kHidden};
  args.k = {k.data(), 0, kDim, kHidden};
  args.v = {v.data(), 0, kDim, kHidden};
  args.out_head = kDim;
  args.out_row = kHidden;
  args.scale = 0.1F;
  args.sequence_starts = starts.data();
  const kernels::RelativeBias query_bias = {
      by_query.data(), tokens * kColumns, kColumns, columns.data(), kReach, 0.3F, false};
  const kernels::RelativeBias key_bias = {
      by_key.data(), tokens * kColumns, kColumns, mirrored.data(), kReach, 0.7F, true};
  args.relative[0] = query_bias;
  Check(report, "bias by query and distance", args, tokens * kHidden);
  args.relative[0] = key_bias;
  Check(report, "bias by key and distance", args, tokens * kHidden);
  args.relative[1] = query_bias;
  Check(report, "biases by key and by query", args, tokens * kHidden);
  const std::vector<float> together = Run(args, tokens * kHidden);
  for (size_t b = 0; b + 1 < starts.size(); ++b) {
    const int64_t start = starts[b], length = starts[b + 1] - start;
    const std::array<int32_t, 2> own = {0, static_cast<int32_t>(length)};
    AttentionArgs alone = args;
    alone.batch = 1;
    alone.sequence_starts = own.data();
    for (kernels::HeadsView* view : {&alone.q, &alone.k, &alone.v}) view->data += start * kHidden;
    for (kernels::RelativeBias& bias : alone.relative) bias.rows += start * kColumns;
    report.SameBits("biased, alone", Run(alone, length * kHidden),
                    std::span(together).subspan(static_cast<size_t>(start * kHidden),
                                                static_cast<size_t>(length * kHidden)));
  }
}

void CheckAttention(Report& report) {
  CheckShapes(report);
  CheckFullyMasked(report);
  CheckShrinkingBlocks(report);
  CheckGroupedHeads(report);
  CheckRaggedPaddedAndAlone(report);
  CheckRelativeBiases(report);
}

void MeasureAttention(Perf& perf) {
  for (const Shape s : {Shape{1, 12, 32, 32, 32, 32},
                        {1, 12, 128, 128, 32, 32},
                        {16, 12, 128, 128, 32, 32},
                        {1, 12, 128, 128, 64, 64},
                        {8, 12, 128, 128, 64, 64},
                        {1, 12, 512, 512, 64, 64},
                        {1, 8, 2048, 2048, 128, 128}}) {
    Operands o(s);
    HugeFloats q(static_cast<int64_t>(o.q.size()), 1), k(static_cast<int64_t>(o.k.size()), 2),
        v(static_cast<int64_t>(o.v.size()), 3), out(o.out_count());
    o.args.q.data = q.data();
    o.args.k.data = k.data();
    o.args.v.data = v.data();
    o.args.out = out.data();
    perf.Measure(Name(s), AttentionWork(o.args), {}, [&] {
      Attention(o.args, {0, AttentionTiles(o.args)});
    });
  }
}

constexpr std::array kKernels = {Kernel{"attention", CheckAttention, MeasureAttention}};

}  // namespace

std::span<const Kernel> AttentionKernels() {
  return kKernels;
}

}  // namespace sluice::conformance
