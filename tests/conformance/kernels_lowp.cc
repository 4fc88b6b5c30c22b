// Products of low precision against their references, on every path that this machine has.
#include <array>
#include <cmath>
#include <cstring>

#include "conformance/huge_floats.h"
#include "conformance/kernel_table.h"
#include "conformance/product_shape.h"
#include "kernels/low_gemm.h"
#include "kernels/low_packing.h"
#include "kernels/ref/low_gemm.h"

namespace sluice::conformance {
namespace {

using namespace kernels;

// A weight packed for the features of now.
struct LowWeight {
  HugeFloats memory{0};
  LowMatrix packed;

  LowWeight(const MatrixSource& source, WeightForm form) {
    memory = HugeFloats(LowMatrixBytes(source.k, source.n, form) / 4 + 16);
    auto made = PackLow(source, form, reinterpret_cast<std::byte*>(memory.data()));
    CHECK(made.ok()) << made.error().message;
    packed = *made;
  }
};

// A product and the memory of its prepared rows.
struct Product {
  LowGemmArgs args;
  HugeFloats rows{0};
  std::vector<float> scales, zeros;

  Product(const LowMatrix& b, const float* a, int64_t a_stride, int64_t m) {
    args.m = m;
    args.b = b;
    args.a = a;
    args.a_stride = a_stride;
    if (b.path == LowPath::kWiden || m == 0) return;
    const int64_t bytes = LowRowBytes(b.k, b.path);
    rows = HugeFloats(m * bytes / 4);
    scales.resize(static_cast<size_t>(m));
    zeros.resize(static_cast<size_t>(m));
    args.rows = {reinterpret_cast<std::byte*>(rows.data()), bytes, scales.data(), zeros.data()};
    Prepare();
  }
  PrepareRowsArgs prepare() const {
    return {.m = args.m,
            .k = args.b.k,
            .a = args.a,
            .a_stride = args.a_stride,
            .rows = args.rows,
            .path = args.b.path,
            .target = args.b.target};
  }
  void Prepare() const { PrepareRows(prepare(), {0, PrepareRowsTiles(prepare())}); }
  void Run() const { LowGemm(args, {0, LowGemmTiles(args)}); }
};

// Calls f with every set of features that changes a path of `form` here.
template <class F>
void OnEveryPath(WeightForm form, F f) {
  std::vector<uint32_t> masks = {0};
  if (form == WeightForm::kInt8) masks = {0, kHasVnni, ~0u};
  if (form == WeightForm::kBF16) masks = {0, kHasBF16Dots, ~0u};
  for (const uint32_t mask : masks) {
    if (mask != 0 && mask != ~0u && (MachineLowFeatures() & mask) == 0) continue;
    LimitLowFeaturesForTesting(mask);
    f();
  }
  LimitLowFeaturesForTesting(~0u);
}

void CheckShapes(Report& report, WeightForm form) {
  for (const Shape s : {Shape{1, 1, 1},
                        {1, 1, 300},
                        {2, 3, 1},
                        {1, 33, 7},
                        {1, 128, 64},
                        {1, 200, 1100},
                        {3, 97, 129},
                        {5, 130, 513},
                        {7, 48, 1025},
                        {15, 100, 33},
                        {16, 64, 64},
                        {17, 65, 63},
                        {29, 65, 600},
                        {32, 32, 128},
                        {49, 31, 97},
                        {128, 384, 384},
                        {300, 17, 65},
                        // From memory.
                        {1, 4441, 1000},
                        {2, 4441, 1000},
                        {3, 4441, 1000},
                        {0, 8, 8}}) {
    const std::vector<float> w = RandomFloats(s.k * s.n, 7);
    const LowWeight weight({w.data(), tensor::DType::kF32, s.k, s.n, s.n, 1}, form);
    const int64_t a_stride = s.k + 3, c_stride = s.n + 5;
    const std::vector<float> a = RandomFloats(s.m * a_stride + 1, 8, -0.5f, 1.0f);
    const std::vector<float> bias = RandomFloats(s.n, 9);
    const std::vector<float> residual = RandomFloats(s.m * s.n + 1, 10);
    const std::vector<float> factor = RandomFloats(s.m * s.n + 1, 27);
    const std::vector<float> before = RandomFloats(s.m * c_stride + 1, 11);
    Product product(weight.packed, a.data(), a_stride, s.m);
    LowGemmArgs& args = product.args;
    args.c_stride = c_stride;
    args.residual_stride = args.factor_stride = s.n;
    for (int variant = 0; variant < 6; ++variant) {
      std::vector<float> got = before, want = before;
      args.bias = variant % 2 == 1 ? bias.data() : nullptr;
      args.residual = variant >= 2 && variant != 4 ? residual.data() : nullptr;
      args.factor = variant >= 4 ? factor.data() : nullptr;
      args.activation = variant == 3 || variant == 4 ? Activation::kGeluErf : Activation::kNone;
      args.c = got.data();
      product.Run();
      args.c = want.data();
      ref::LowGemm(args);
      report.Compare(
          Name(s) + " " + LowPathName(weight.packed.path) + " variant " + std::to_string(variant),
          got, want, static_cast<double>(s.k));
    }
  }
}

void CheckActivations(Report& report, WeightForm form) {
  const std::vector<float> w = RandomFloats(1000, 12);
  const LowWeight weight({w.data(), tensor::DType::kF32, 1, 1000, 1000, 1}, form);
  const std::vector<float> a = {12.0f, -3.0f, 0.25f};
  Product product(weight.packed, a.data(), 1, 3);
  product.args.c_stride = 1000;
  for (int act = 0; act < kActivationCount; ++act) {
    std::vector<float> got(3000), want(3000);
    product.args.activation = static_cast<Activation>(act);
    product.args.c = got.data();
    product.Run();
    product.args.c = want.data();
    ref::LowGemm(product.args);
    report.Compare(std::string("activation ") + ActivationName(product.args.activation), got, want,
                   12.0);
  }
}

// A row alone, in any batch, through any split into tiles: the same bits; and for int8 the same on
// every path.
void CheckInvariance(Report& report, WeightForm form) {
  for (const Shape s : {Shape{257, 200, 1100}, {257, 384, 384}, {130, 1, 700}, {130, 33, 31}}) {
    const std::vector<float> w = RandomFloats(s.k * s.n, 15);
    const std::vector<float> a = RandomFloats(s.m * s.k, 16);
    const std::vector<float> bias = RandomFloats(s.n, 17);
    const std::vector<float> residual = RandomFloats(s.m * s.n, 18);
    std::vector<float> first;
    OnEveryPath(form, [&] {
      const LowWeight weight({w.data(), tensor::DType::kF32, s.k, s.n, s.n, 1}, form);
      const auto run = [&](int64_t row, int64_t m, bool one_tile_at_a_time) {
        std::vector<float> c(static_cast<size_t>(m * s.n));
        Product product(weight.packed, a.data() + row * s.k, s.k, m);
        LowGemmArgs& args = product.args;
        args.bias = bias.data();
        args.residual = residual.data() + row * s.n;
        args.residual_stride = s.n;
        args.factor = s.k == 33 ? residual.data() + row * s.n : nullptr;
        args.factor_stride = s.n;
        // Paths of both targets meet here, and the other GELU has bits of its own on each.
        args.activation = Activation::kGeluTanh;
        args.c = c.data();
        args.c_stride = s.n;
        if (one_tile_at_a_time) {
          for (int64_t t = LowGemmTiles(args); t-- > 0;) LowGemm(args, {t, t + 1});
        } else {
          product.Run();
        }
        return c;
      };
      const std::string name = Name(s) + " " + LowPathName(weight.packed.path);
      const std::vector<float> all = run(0, s.m, false);
      report.SameBits(name + " tile by tile", run(0, s.m, true), all);
      for (const int64_t m : {1, 2, 3, 4, 5, 7, 14, 16, 17, 100}) {
        for (const int64_t row : {int64_t{0}, int64_t{3}, s.m - m}) {
          report.SameBits(
              name + " rows " + std::to_string(row) + "+" + std::to_string(m), run(row, m, false),
              std::span(all).subspan(static_cast<size_t>(row * s.n), static_cast<size_t>(m * s.n)));
        }
      }
      if (first.empty()) first = all;
      if (form != WeightForm::kBF16) report.SameBits(name + " against the first path", all, first);
    });
  }
}

// The bytes path is taken only where no pair of weights can saturate it, and is exact there.
void CheckBytes(Report& report) {
  LimitLowFeaturesForTesting(0);
  constexpr int64_t kK = 200, kN = 40, kM = 9;
  std::vector<float> w = RandomFloats(kK * kN, 19, 0.2f, 1.0f);
  for (int64_t k = 0; k < kK; k += 2) {
    for (int64_t n = 0; n < kN; ++n) w[static_cast<size_t>(k * kN + n)] *= -1.0f;
  }
  const std::vector<float> a = RandomFloats(kM * kK, 20, 0.0f, 1.0f);
  std::vector<float> results[2];
  for (const bool pairs_fit : {true, false}) {
    // Two neighbours of 1 would add up to 255 * 254.
    if (!pairs_fit) w[0] = w[kN] = 1.0f;
    const LowWeight weight({w.data(), tensor::DType::kF32, kK, kN, kN, 1}, WeightForm::kInt8);
    report.Expect(pairs_fit ? "bytes where pairs fit" : "words where a pair could saturate",
                  weight.packed.path == (pairs_fit ? LowPath::kBytes : LowPath::kWords));
    std::vector<float> got(kM * kN), want(kM * kN);
    Product product(weight.packed, a.data(), kK, kM);
    product.args.c_stride = kN;
    product.args.c = got.data();
    product.Run();
    product.args.c = want.data();
    ref::LowGemm(product.args);
    report.Compare("bytes", got, want, kK);
  }
  LimitLowFeaturesForTesting(~0u);
}

// NaN and inf reach their whole row and no other; rows without a range give the bias.
void CheckOddRows(Report& report) {
  constexpr int64_t kK = 70, kN = 45, kM = 6;
  const std::vector<float> w = RandomFloats(kK * kN, 21);
  const LowWeight weight({w.data(), tensor::DType::kF32, kK, kN, kN, 1}, WeightForm::kInt8);
  std::vector<float> a = RandomFloats(kM * kK, 22);
  a[kK + 3] = NAN;
  a[2 * kK + 69] = INFINITY;
  for (int64_t i = 0; i < kK; ++i) {
    a[static_cast<size_t>(3 * kK + i)] = 0.0f;
    a[static_cast<size_t>(4 * kK + i)] = i % 2 == 0 ? 3e38f : -3e38f;
  }
  const std::vector<float> bias = RandomFloats(kN, 23);
  std::vector<float> c(kM * kN);
  Product product(weight.packed, a.data(), kK, kM);
  product.args.bias = bias.data();
  product.args.c = c.data();
  product.args.c_stride = kN;
  product.Run();
  bool as_told = true;
  for (int64_t i = 0; i < kM; ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      const float x = c[static_cast<size_t>(i * kN + j)];
      if (i == 1 || i == 2 || i == 4) as_told = as_told && std::isnan(x);
      if (i == 0 || i == 5) as_told = as_told && std::isfinite(x);
      if (i == 3) as_told = as_told && x == bias[static_cast<size_t>(j)];
    }
  }
  report.Expect("odd rows", as_told);
}

// GELU for what is rounded next is within 1e-4, and NaN stays.
void CheckCoarseGelu(Report& report, WeightForm form) {
  constexpr int64_t kN = 4096;
  std::vector<float> w(kN);
  for (int64_t i = 0; i < kN; ++i)
    w[static_cast<size_t>(i)] = (static_cast<float>(i) - 2048.0f) / 256.0f;
  const LowWeight weight({w.data(), tensor::DType::kF32, 1, kN, kN, 1}, form);
  const std::vector<float> a = {1.0f, 0.3f, 0.02f};
  std::vector<float> got(3 * kN), want(3 * kN);
  Product product(weight.packed, a.data(), 1, 3);
  product.args.c_stride = kN;
  product.args.activation = Activation::kGeluErf;
  product.args.coarse_gelu = true;
  product.args.c = got.data();
  product.Run();
  product.args.c = want.data();
  ref::LowGemm(product.args);
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - want[i]));
  report.Expect("coarse GELU", worst < 1.2e-4f);
}

// A result that is prepared at once has the bits of one that is stored and prepared.
void CheckPrepared(Report& report, WeightForm form) {
  for (const Shape s : {Shape{1, 40, 70}, {7, 384, 65}, {130, 1000, 384}, {65, 1536, 100}}) {
    const std::vector<float> w = RandomFloats(s.k * s.n, 24);
    const LowWeight weight({w.data(), tensor::DType::kF32, s.k, s.n, s.n, 1}, form);
    if (!LowGemmPrepares(weight.packed, weight.packed.path)) continue;
    const std::vector<float> a = RandomFloats(s.m * s.k, 25);
    const std::vector<float> residual = RandomFloats(s.m * s.n, 26);
    const std::vector<float> factor = RandomFloats(s.m * s.n, 28);
    std::vector<float> c(static_cast<size_t>(s.m * s.n));
    Product product(weight.packed, a.data(), s.k, s.m);
    product.args.residual = residual.data();
    product.args.residual_stride = s.n;
    product.args.factor = s.m == 7 ? factor.data() : nullptr;
    product.args.factor_stride = s.n;
    product.args.activation = s.m == 130 ? Activation::kGeluErf : Activation::kRelu;
    product.args.coarse_gelu = true;
    product.args.c = c.data();
    product.args.c_stride = s.n;
    product.Run();
    product.args.coarse_gelu = false;
    LowMatrix next = weight.packed;
    next.k = s.n;
    const Product want(next, c.data(), s.n, s.m);
    Product got(next, c.data(), s.n, s.m);
    const int64_t floats = s.m * got.args.rows.stride / 4;
    std::memset(got.rows.data(), 0, static_cast<size_t>(floats * 4));
    got.scales.assign(got.scales.size(), -1.0f);
    product.args.c = nullptr;
    product.args.out = got.args.rows;
    product.args.out_path = weight.packed.path;
    for (int64_t t = LowGemmTiles(product.args); t-- > 0;) LowGemm(product.args, {t, t + 1});
    const bool scaled = form == WeightForm::kInt8;
    // Rows of bf16 are padded with zeros; behind the codes of int8 nothing is said.
    const bool byte_codes =
        weight.packed.path == LowPath::kVnni || weight.packed.path == LowPath::kBytes;
    const int64_t bytes = TakesBrainRows(weight.packed.path)
                              ? LowGroups(s.n, weight.packed.path) * 4
                              : s.n * (byte_codes ? 1 : 2);
    bool same = true;
    for (int64_t i = 0; i < s.m; ++i) {
      const int64_t at = i * got.args.rows.stride;
      same = same && std::memcmp(got.args.rows.data + at, want.args.rows.data + at,
                                 static_cast<size_t>(bytes)) == 0;
      const auto row = static_cast<size_t>(i);
      same = same && (!scaled ||
                      (got.scales[row] == want.scales[row] && got.zeros[row] == want.zeros[row]));
    }
    report.Expect(Name(s) + " prepared at once", same);
  }
}

template <WeightForm form>
void Check(Report& report) {
  OnEveryPath(form, [&] {
    CheckShapes(report, form);
    CheckActivations(report, form);
    CheckCoarseGelu(report, form);
    CheckPrepared(report, form);
  });
  CheckInvariance(report, form);
  if (form != WeightForm::kInt8) return;
  CheckBytes(report);
  OnEveryPath(form, [&] { CheckOddRows(report); });
}

template <WeightForm form>
void Measure(Perf& perf) {
  struct Layer {
    int64_t n, k;
    Activation activation;
  };
  for (const Layer layer : {Layer{1152, 384, Activation::kNone},
                            {384, 384, Activation::kNone},
                            {1536, 384, Activation::kGeluErf},
                            {384, 1536, Activation::kNone},
                            {3072, 768, Activation::kGeluErf},
                            {768, 3072, Activation::kNone},
                            {1024, 480, Activation::kRelu}}) {
    const std::vector<float> w = RandomFloats(layer.n * layer.k, 1);
    const LowWeight weight({w.data(), tensor::DType::kF32, layer.k, layer.n, layer.n, 1}, form);
    const std::vector<float> bias = RandomFloats(layer.n, 2);
    for (const int64_t m : {1, 8, 32, 128, 512}) {
      HugeFloats a(m * layer.k, 3);
      HugeFloats c(m * layer.n);
      Product product(weight.packed, a.data(), layer.k, m);
      product.args.bias = bias.data();
      product.args.c = c.data();
      product.args.c_stride = layer.n;
      product.args.activation = layer.activation;
      perf.Measure(Name({m, layer.n, layer.k}) + " " + ActivationName(layer.activation) + " " +
                       LowPathName(weight.packed.path),
                   LowGemmWork(product.args), {Roof::Kind::kDots, 0, weight.packed.path},
                   [&] { product.Run(); });
      if (weight.packed.path == LowPath::kWiden) continue;
      perf.Measure(Name({m, layer.n, layer.k}) + " prepare", PrepareRowsWork(product.prepare()),
                   {Roof::Kind::kRead, m * layer.k * 4}, [&] { product.Prepare(); });
    }
  }
}

constexpr std::array kKernels = {
    Kernel{"gemm_int8", Check<WeightForm::kInt8>, Measure<WeightForm::kInt8>},
    Kernel{"gemm_bf16", Check<WeightForm::kBF16>, Measure<WeightForm::kBF16>},
    Kernel{"gemm_int8_storage", Check<WeightForm::kInt8Storage>, Measure<WeightForm::kInt8Storage>},
    Kernel{"gemm_bf16_storage", Check<WeightForm::kBF16Storage>, Measure<WeightForm::kBF16Storage>},
};

}  // namespace

std::span<const Kernel> LowKernels() {
  return kKernels;
}

}  // namespace sluice::conformance
