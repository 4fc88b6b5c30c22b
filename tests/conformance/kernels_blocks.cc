// Products with weights in blocks against their references: every format, on every path that this
// machine has.
#include <array>
#include <cmath>
#include <random>

#include "base/check.h"
#include "conformance/huge_floats.h"
#include "conformance/kernel_table.h"
#include "conformance/product_shape.h"
#include "kernels/block_gemm.h"
#include "kernels/block_int4.h"
#include "kernels/low_path.h"
#include "kernels/ref/block_gemm.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::BlockFormat;

// Where the f16 numbers of a format's block stand; -1: none.
struct Halves {
  BlockFormat format;
  int first, second;
};
constexpr Halves kHalves[] = {{BlockFormat::kF16, 0, -1},  {BlockFormat::kBF16, -1, -1},
                              {BlockFormat::kQ8_0, 0, -1}, {BlockFormat::kQ4_0, 0, -1},
                              {BlockFormat::kQ4_1, 0, 2},  {BlockFormat::kQ5_0, 0, -1},
                              {BlockFormat::kQ5_1, 0, 2},  {BlockFormat::kQ4_K, 0, 2},
                              {BlockFormat::kQ5_K, 0, 2},  {BlockFormat::kQ6_K, 208, -1}};

// The size that makes a format's largest weight about 1.
float ScaleFor(BlockFormat format) {
  switch (format) {
    case BlockFormat::kQ8_0:
      return 1.0f / 128;
    case BlockFormat::kQ4_0:
    case BlockFormat::kQ4_1:
      return 1.0f / 16;
    case BlockFormat::kQ5_0:
    case BlockFormat::kQ5_1:
      return 1.0f / 32;
    case BlockFormat::kQ4_K:
      return 1.0f / 1024;
    case BlockFormat::kQ5_K:
      return 1.0f / 2048;
    case BlockFormat::kQ6_K:
      return 1.0f / 4096;
    default:
      return 1.0f;
  }
}

// Random codes under scales of magnitude 1 over the largest code, or groups of four bits.
struct Weight {
  HugeFloats memory{0};
  BlockMatrix w;

  Weight(const Halves& kind, int64_t n, int64_t k, uint32_t seed) {
    const int64_t row = tensor::BlockRowBytes(kind.format, k).value();
    memory = HugeFloats(n * row / 4 + 1);
    auto* const bytes = reinterpret_cast<uint8_t*>(memory.data());
    std::mt19937 random(seed);
    for (int64_t i = 0; i < n * row; ++i) bytes[i] = static_cast<uint8_t>(random() >> 11);
    const int64_t block = tensor::BlockBytes(kind.format);
    std::uniform_real_distribution<float> sizes(0.2f, 1.0f);
    const auto put = [&](int64_t at, float x) {
      const tensor::F16 half = tensor::ToF16(x);
      __builtin_memcpy(bytes + at, &half, 2);
    };
    for (int64_t at = 0; at < n * row; at += block) {
      const float scale = sizes(random) * ScaleFor(kind.format);
      if (kind.format == BlockFormat::kF16) put(at, 2 * sizes(random) - 1.2f);
      if (kind.format == BlockFormat::kBF16) {
        const tensor::BF16 brain = tensor::ToBF16(2 * sizes(random) - 1.2f);
        __builtin_memcpy(bytes + at, &brain, 2);
      }
      if (block <= 2) continue;
      put(at + kind.first, random() % 2 == 0 ? scale : -scale);
      if (kind.second >= 0) put(at + kind.second, scale * 8 * (sizes(random) - 0.5f));
    }
    w = BlockMatrixOf(reinterpret_cast<const std::byte*>(bytes), kind.format, n, k).value();
  }
  // The same blocks interleaved.
  Weight Interleaved() const {
    Weight other(w);
    other.w = InterleaveBlocks(w, reinterpret_cast<std::byte*>(other.memory.data()));
    return other;
  }
  Weight(Int4Kind kind, int64_t group, int64_t n, int64_t k, uint32_t seed) {
    const std::vector<float> values = RandomFloats(n * k, seed);
    memory = HugeFloats(Int4Bytes(k, n, group, kind) / 4 + 16);
    w = PackInt4({values.data(), tensor::DType::kF32, k, n, 1, k}, group, kind,
                 reinterpret_cast<std::byte*>(memory.data()))
            .value();
  }

 private:
  explicit Weight(const BlockMatrix& rows) : memory(InterleavedBytes(rows) / 4 + 1) {}
};

std::string FormatName(const BlockMatrix& w) {
  const std::string name(tensor::BlockFormatName(w.format));
  if (w.interleaved) return name + " interleaved";
  if (w.group == 0) return name;
  return "int4 " + std::to_string(w.group) + (w.format == BlockFormat::kQ4_1 ? " with min" : "");
}

// A product and the memory of its prepared rows.
struct Product {
  BlockGemmArgs args;
  HugeFloats codes{0};
  std::vector<float> scales, code_sums;
  std::vector<int32_t> sums, half_sums;

  Product(const BlockMatrix& w, const float* a, int64_t a_stride, int64_t m) {
    args.m = m;
    args.w = w;
    args.a = a;
    args.a_stride = a_stride;
    if (!TakesBlockRows(w) || m == 0) return;
    const int64_t stride = BlockCodeStride(w.k);
    codes = HugeFloats(m * stride / 4);
    scales.resize(static_cast<size_t>(m * w.k / 32));
    sums.resize(scales.size());
    half_sums.resize(2 * scales.size());
    code_sums.resize(scales.size());
    args.rows = {reinterpret_cast<int8_t*>(codes.data()),
                 scales.data(),
                 sums.data(),
                 half_sums.data(),
                 code_sums.data(),
                 stride};
    Prepare();
  }
  void Prepare() const {
    const PrepareBlockRowsArgs prepare = {
        .m = args.m, .k = args.w.k, .a = args.a, .a_stride = args.a_stride, .rows = args.rows};
    for (int64_t t = PrepareBlockRowsTiles(prepare); t-- > 0;)
      PrepareBlockRows(prepare, {t, t + 1});
  }
  void Run() const { BlockGemm(args, {0, BlockGemmTiles(args)}); }
};

// Calls f with a weight of every format that fits k.
template <class F>
void ForEveryWeight(int64_t n, int64_t k, F f) {
  for (const Halves& kind : kHalves) {
    const int64_t elements = tensor::BlockElements(kind.format);
    if (k % elements != 0) continue;
    const Weight weight(kind, n, k, 3);
    f(weight.w);
    if (elements > 1) f(weight.Interleaved().w);
  }
  if (k % 32 != 0) return;
  for (const int64_t group : {32, 64, 96, 128}) {
    f(Weight(Int4Kind::kSymmetric, group, n, k, 4).w);
    f(Weight(Int4Kind::kWithMinimum, group, n, k, 5).w);
  }
}

void CheckShapes(Report& report) {
  for (const Shape s : {Shape{1, 1, 32},
                        {1, 15, 64},
                        {1, 33, 256},
                        {2, 16, 96},
                        {3, 17, 768},
                        {5, 31, 512},
                        {6, 64, 544},
                        {7, 40, 1280},
                        {13, 100, 256},
                        {260, 33, 288},
                        {1, 7, 77},
                        {5, 14, 35},
                        {0, 8, 32}}) {
    ForEveryWeight(s.n, s.k, [&](const BlockMatrix& w) {
      const int64_t a_stride = s.k + 3, c_stride = s.n + 5;
      const std::vector<float> a = RandomFloats(s.m * a_stride + 1, 8);
      const std::vector<float> bias = RandomFloats(s.n, 9);
      const std::vector<float> residual = RandomFloats(s.m * s.n + 1, 10);
      const std::vector<float> before = RandomFloats(s.m * c_stride + 1, 11);
      Product product(w, a.data(), a_stride, s.m);
      BlockGemmArgs& args = product.args;
      args.c_stride = c_stride;
      args.residual_stride = s.n;
      for (const bool extras : {false, true}) {
        std::vector<float> got = before, want = before;
        args.bias = extras ? bias.data() : nullptr;
        args.residual = extras ? residual.data() : nullptr;
        args.c = got.data();
        product.Run();
        args.c = want.data();
        ref::BlockGemm(args);
        report.Compare(Name(s) + " " + FormatName(w) + (extras ? " with bias" : ""), got, want,
                       static_cast<double>(s.k));
      }
    });
  }
}

// A row alone, in any batch, through any split into tiles, on any instructions: the same bits.
void CheckInvariance(Report& report) {
  for (const Shape s : {Shape{270, 70, 768}, {20, 40, 35}}) {
    ForEveryWeight(s.n, s.k, [&](const BlockMatrix& w) {
      const std::vector<float> a = RandomFloats(s.m * s.k, 16);
      const std::vector<float> bias = RandomFloats(s.n, 17);
      std::vector<float> first;
      for (const uint32_t features : {~0u, 0u}) {
        LimitLowFeaturesForTesting(features);
        const auto run = [&](int64_t row, int64_t m, bool one_tile_at_a_time) {
          std::vector<float> c(static_cast<size_t>(m * s.n));
          Product product(w, a.data() + row * s.k, s.k, m);
          product.args.bias = bias.data();
          product.args.c = c.data();
          product.args.c_stride = s.n;
          if (one_tile_at_a_time) {
            for (int64_t t = BlockGemmTiles(product.args); t-- > 0;)
              BlockGemm(product.args, {t, t + 1});
          } else {
            product.Run();
          }
          return c;
        };
        const std::string name = Name(s) + " " + FormatName(w);
        const std::vector<float> all = run(0, s.m, false);
        report.SameBits(name + " tile by tile", run(0, s.m, true), all);
        for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 13, 17}) {
          for (const int64_t row : {int64_t{0}, int64_t{3}, s.m - m}) {
            report.SameBits(name + " rows " + std::to_string(row) + "+" + std::to_string(m),
                            run(row, m, false),
                            std::span(all).subspan(static_cast<size_t>(row * s.n),
                                                   static_cast<size_t>(m * s.n)));
          }
        }
        if (first.empty()) first = all;
        report.SameBits(name + " without VNNI", all, first);
      }
      LimitLowFeaturesForTesting(~0u);
    });
  }
}

// Codes at their bounds under activations at theirs: no path may saturate.
void CheckExtremes(Report& report) {
  constexpr int64_t kN = 33, kK = 512, kM = 5;
  for (const Halves& kind : kHalves) {
    if (tensor::BlockElements(kind.format) == 1) continue;
    for (const uint8_t byte : {uint8_t{0xff}, uint8_t{0x80}, uint8_t{0x7f}, uint8_t{0}}) {
      Weight weight(kind, kN, kK, 21);
      auto* const bytes = reinterpret_cast<uint8_t*>(weight.memory.data());
      const int64_t block = tensor::BlockBytes(kind.format);
      for (int64_t i = 0; i < kN * weight.w.row_bytes; ++i) {
        const int64_t at = i % block;
        const bool is_half = (at >= kind.first && at < kind.first + 2) ||
                             (kind.second >= 0 && at >= kind.second && at < kind.second + 2);
        if (!is_half) bytes[i] = byte;
      }
      std::vector<float> a(kM * kK);
      for (int64_t i = 0; i < kM * kK; ++i)
        a[static_cast<size_t>(i)] = i / kK == 0 ? 1.0f : (i + i / kK) % 2 == 0 ? -1.0f : 1.0f;
      Product product(weight.w, a.data(), kK, kM);
      std::vector<float> want(kM * kN);
      product.args.c_stride = kN;
      product.args.c = want.data();
      ref::BlockGemm(product.args);
      for (const uint32_t features : {~0u, 0u}) {
        LimitLowFeaturesForTesting(features);
        std::vector<float> got(kM * kN);
        product.args.c = got.data();
        product.Run();
        report.Compare("extremes " + FormatName(weight.w) + " " + std::to_string(byte), got, want,
                       4 * kK);
      }
      LimitLowFeaturesForTesting(~0u);
    }
  }
}

// NaN and inf reach their whole row and no other; rows of zeros give the bias.
void CheckOddRows(Report& report) {
  constexpr int64_t kK = 256, kN = 45, kM = 5;
  ForEveryWeight(kN, kK, [&](const BlockMatrix& w) {
    std::vector<float> a = RandomFloats(kM * kK, 22);
    a[kK + 3] = NAN;
    a[2 * kK + 200] = INFINITY;
    for (int64_t i = 0; i < kK; ++i) a[static_cast<size_t>(3 * kK + i)] = 0.0f;
    const std::vector<float> bias = RandomFloats(kN, 23);
    std::vector<float> c(kM * kN);
    Product product(w, a.data(), kK, kM);
    product.args.bias = bias.data();
    product.args.c = c.data();
    product.args.c_stride = kN;
    product.Run();
    bool as_told = true;
    for (int64_t i = 0; i < kM; ++i) {
      for (int64_t j = 0; j < kN; ++j) {
        const float x = c[static_cast<size_t>(i * kN + j)];
        if (i == 1 || i == 2) as_told = as_told && !std::isfinite(x);
        if (i == 0 || i == 4) as_told = as_told && std::isfinite(x);
        if (i == 3) as_told = as_told && x == bias[static_cast<size_t>(j)];
      }
    }
    report.Expect("odd rows " + FormatName(w), as_told);
  });
}

// Interleaved blocks are the same numbers in the same order.
void CheckInterleaved(Report& report) {
  for (const Halves& kind : kHalves) {
    if (tensor::BlockElements(kind.format) == 1) continue;
    const Weight rows(kind, 45, 768, 31);
    const Weight panels = rows.Interleaved();
    const std::vector<float> a = RandomFloats(9 * 768, 32);
    for (const int64_t m : {1, 9}) {
      std::vector<float> results[2];
      for (int i = 0; i < 2; ++i) {
        results[i].resize(static_cast<size_t>(m * 45));
        Product product(i == 0 ? rows.w : panels.w, a.data(), 768, m);
        product.args.c = results[i].data();
        product.args.c_stride = 45;
        product.Run();
      }
      report.SameBits("interleaved " + FormatName(rows.w), results[1], results[0]);
    }
  }
}

void Check(Report& report) {
  CheckInterleaved(report);
  CheckShapes(report);
  CheckInvariance(report);
  CheckExtremes(report);
  CheckOddRows(report);
}

// Many rows; what one row costs is bound by memory: bench/block_bench.cc measures it.
void Measure(Perf& perf) {
  constexpr int64_t kN = 4864;  // of Qwen2.5-0.5B
  const bool vnni = (LowFeatures() & kHasVnni) != 0;
  const auto measure = [&](const Weight& weight) {
    for (const int64_t m : {1, 4, 16, 64, 512}) {
      HugeFloats a(m * weight.w.k, 3);
      HugeFloats c(m * weight.w.n);
      Product product(weight.w, a.data(), weight.w.k, m);
      product.args.c = c.data();
      product.args.c_stride = weight.w.n;
      const bool dots = TakesBlockRows(weight.w);
      perf.Measure(
          Name({m, weight.w.n, weight.w.k}) + " " + FormatName(weight.w),
          BlockGemmWork(product.args),
          dots ? Roof{Roof::Kind::kDots, 0, vnni ? LowPath::kVnni : LowPath::kBytes} : Roof{},
          [&] { product.Run(); });
    }
  };
  for (const Halves& kind : kHalves)
    measure(Weight(kind, kN, tensor::BlockElements(kind.format) == 256 ? 1024 : 896, 3));
  for (const int64_t group : {32, 128}) measure(Weight(Int4Kind::kSymmetric, group, kN, 896, 3));
}

constexpr std::array kKernels = {Kernel{"gemm_blocks", Check, Measure}};

}  // namespace

std::span<const Kernel> BlockKernels() {
  return kKernels;
}

}  // namespace sluice::conformance
