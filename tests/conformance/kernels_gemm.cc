// Products against their references, on the active target.
#include <array>

#include "conformance/huge_floats.h"
#include "conformance/kernel_table.h"
#include "conformance/product_shape.h"
#include "kernels/gemm.h"
#include "kernels/packing.h"
#include "kernels/ref/gemm.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;

// A weight with its packed copy.
struct Weight {
  std::vector<float> values;
  MatrixSource source;
  HugeFloats memory{0};
  PackedMatrix packed;

  Weight(int64_t k, int64_t n, uint32_t seed) : values(RandomFloats(k * n, seed)) {
    source = {values.data(), tensor::DType::kF32, k, n, n, 1};
    Pack();
  }
  void Pack() {
    memory = HugeFloats(PackedMatrixBytes(source.k, source.n, ActiveTarget()) / 4);
    packed = PackMatrix(source, ActiveTarget(), memory.data());
  }
};

void RunAll(const GemmArgs& args) {
  Gemm(args, {0, GemmTiles(args)});
}

void CheckShapes(Report& report) {
  for (const Shape s :
       {Shape{1, 1, 1},  {1, 1, 300},     {2, 3, 1},     {1, 33, 7},     {1, 128, 64},
        {1, 200, 1100},  {3, 97, 129},    {4, 64, 64},   {5, 130, 513},  {6, 16, 40},
        {7, 48, 1025},   {12, 31, 5},     {14, 32, 512}, {15, 100, 33},  {29, 65, 600},
        {128, 384, 384}, {113, 17, 1537}, {250, 70, 90}, {40, 48, 7000}, {300, 33, 1},
        {300, 33, 3},    {0, 8, 8},       {500, 1, 400}, {131, 1, 13},   {66, 1, 429},
        {7, 1, 16}}) {
    const Weight w(s.k, s.n, 7);
    const int64_t a_stride = s.k + 3, c_stride = s.n + 5;
    const std::vector<float> a = RandomFloats(s.m * a_stride + 1, 8);
    const std::vector<float> bias = RandomFloats(s.n, 9);
    const std::vector<float> residual = RandomFloats(s.m * s.n + 1, 10);
    const std::vector<float> before = RandomFloats(s.m * c_stride + 1, 11);
    const std::vector<float> factor = RandomFloats(s.m * (s.n + 2) + 1, 15);
    for (int variant = 0; variant < 8; ++variant) {
      std::vector<float> got = before, want = before;
      GemmArgs args;
      args.m = s.m;
      args.a = a.data();
      args.a_stride = a_stride;
      args.b = w.packed;
      args.c_stride = c_stride;
      args.bias = variant >= 1 ? bias.data() : nullptr;
      args.residual = variant == 2 || variant == 4 || variant > 5 ? residual.data() : nullptr;
      args.residual_stride = s.n;
      args.factor = variant >= 5 ? factor.data() : nullptr;
      args.factor_stride = s.n + 2;
      args.accumulate = variant == 3 || variant == 4;
      args.activation = variant == 4 || variant == 7 ? Activation::kTanh : Activation::kNone;
      args.c = got.data();
      RunAll(args);
      args.c = want.data();
      ref::PackedGemm(args, w.source);
      report.Compare(Name(s) + " variant " + std::to_string(variant), got, want,
                     static_cast<double>(s.k));
    }
  }
}

void CheckActivations(Report& report) {
  const Weight w(1, 1000, 12);
  const std::vector<float> a = {12.0f, -3.0f, 0.01f};
  for (int act = 0; act < kActivationCount; ++act) {
    std::vector<float> got(3000), want(3000);
    GemmArgs args;
    args.m = 3;
    args.a = a.data();
    args.a_stride = 1;
    args.b = w.packed;
    args.c_stride = 1000;
    args.activation = static_cast<Activation>(act);
    args.c = got.data();
    RunAll(args);
    args.c = want.data();
    ref::PackedGemm(args, w.source);
    report.Compare(std::string("activation ") + ActivationName(args.activation), got, want, 12.0);
  }
}

void CheckTypesAndLayouts(Report& report) {
  constexpr int64_t kK = 70, kN = 45, kM = 9;
  const std::vector<float> values = RandomFloats(kK * kN, 13);
  std::vector<tensor::F16> f16;
  std::vector<tensor::BF16> bf16;
  for (float v : values) {
    f16.push_back(tensor::ToF16(v));
    bf16.push_back(tensor::ToBF16(v));
  }
  const std::vector<float> a = RandomFloats(kM * kK, 14);
  const std::array sources = {
      MatrixSource{values.data(), tensor::DType::kF32, kK, kN, 1, kK},
      MatrixSource{f16.data(), tensor::DType::kF16, kK, kN, kN, 1},
      MatrixSource{bf16.data(), tensor::DType::kBF16, kK, kN, kN, 1},
  };
  for (const MatrixSource& source : sources) {
    Weight w(1, 1, 0);
    w.source = source;
    w.Pack();
    std::vector<float> got(kM * kN), want(kM * kN);
    GemmArgs args;
    args.m = kM;
    args.a = a.data();
    args.a_stride = kK;
    args.b = w.packed;
    args.c_stride = kN;
    args.c = got.data();
    RunAll(args);
    args.c = want.data();
    ref::PackedGemm(args, source);
    report.Compare(std::string("b ") + std::string(DTypeName(source.dtype)), got, want, kK);
  }
}

// A row alone, in any batch, through any split into tiles: the same bits.
void CheckInvariance(Report& report) {
  // With 1,024 rows and more another loop order runs, in the last two with several blocks of B.
  for (const Shape s : {Shape{257, 200, 1100},
                        {257, 384, 384},
                        {130, 1, 700},
                        {130, 33, 31},
                        {1030, 900, 300},
                        {1025, 33, 9000}}) {
    const Weight w(s.k, s.n, 15);
    const std::vector<float> a = RandomFloats(s.m * s.k, 16);
    const std::vector<float> bias = RandomFloats(s.n, 17);
    const std::vector<float> residual = RandomFloats(s.m * s.n, 18);
    const auto run = [&](int64_t row, int64_t m, bool one_tile_at_a_time) {
      std::vector<float> c(static_cast<size_t>(m * s.n));
      GemmArgs args;
      args.m = m;
      args.a = a.data() + row * s.k;
      args.a_stride = s.k;
      args.b = w.packed;
      args.bias = bias.data();
      args.residual = residual.data() + row * s.n;
      args.residual_stride = s.n;
      args.activation = Activation::kGeluErf;
      args.c = c.data();
      args.c_stride = s.n;
      if (one_tile_at_a_time) {
        for (int64_t t = GemmTiles(args); t-- > 0;) Gemm(args, {t, t + 1});
      } else {
        RunAll(args);
      }
      return c;
    };
    const std::vector<float> all = run(0, s.m, false);
    report.SameBits(Name(s) + " tile by tile", run(0, s.m, true), all);
    for (const int64_t m : {1, 2, 3, 5, 7, 14, 16, 100}) {
      for (const int64_t row : {int64_t{0}, int64_t{3}, s.m - m}) {
        report.SameBits(
            Name(s) + " rows " + std::to_string(row) + "+" + std::to_string(m), run(row, m, false),
            std::span(all).subspan(static_cast<size_t>(row * s.n), static_cast<size_t>(m * s.n)));
      }
    }
  }
}

void CheckGemm(Report& report) {
  CheckShapes(report);
  CheckActivations(report);
  CheckTypesAndLayouts(report);
  CheckInvariance(report);
}

void CheckMatMul(Report& report) {
  for (const Shape s : {Shape{1, 1, 1},
                        {3, 5, 0},
                        {1, 200, 64},
                        {128, 128, 32},
                        {17, 130, 64},
                        {33, 7, 300},
                        {50, 64, 50},
                        {2, 1000, 9},
                        {120, 310, 520}}) {
    for (int variant = 0; variant < 4; ++variant) {
      constexpr int64_t kOuter = 2, kInner = 3;
      const bool a_transposed = variant == 2, b_transposed = variant % 2 == 1;
      const std::vector<float> a = RandomFloats(kOuter * kInner * s.m * s.k + 1, 20);
      const std::vector<float> b = RandomFloats(kOuter * kInner * s.k * s.n + 1, 21);
      std::vector<float> got(static_cast<size_t>(kOuter * kInner * s.m * s.n), 3.0f);
      std::vector<float> want = got;
      MatMulArgs args;
      args.outer = kOuter;
      args.inner = kInner;
      args.m = s.m;
      args.n = s.n;
      args.k = s.k;
      args.a = a.data();
      args.b = b.data();
      args.a_outer = kInner * s.m * s.k;
      args.a_inner = s.m * s.k;
      args.a_row = a_transposed ? 1 : s.k;
      args.a_column = a_transposed ? s.m : 1;
      args.b_outer = variant == 3 ? 0 : kInner * s.k * s.n;
      args.b_inner = s.k * s.n;
      args.b_row = b_transposed ? 1 : s.n;
      args.b_column = b_transposed ? s.k : 1;
      args.c_outer = kInner * s.m * s.n;
      args.c_inner = s.m * s.n;
      args.c_row = s.n;
      args.alpha = variant == 3 ? 0.125f : 1.0f;
      args.c = got.data();
      MatMul(args, {0, MatMulTiles(args)});
      args.c = want.data();
      ref::StridedMatMul(args);
      report.Compare(Name(s) + " variant " + std::to_string(variant), got, want,
                     static_cast<double>(s.k));
    }
  }
}

void MeasureGemm(Perf& perf) {
  struct Layer {
    int64_t n, k;
    Activation activation;
  };
  for (const Layer layer : {Layer{1152, 384, Activation::kNone},
                            {384, 384, Activation::kNone},
                            {1536, 384, Activation::kGeluErf},
                            {384, 1536, Activation::kNone},
                            {2304, 768, Activation::kNone},
                            {768, 768, Activation::kNone},
                            {3072, 768, Activation::kGeluErf},
                            {768, 3072, Activation::kNone},
                            {1024, 480, Activation::kRelu}}) {
    const Weight w(layer.k, layer.n, 1);
    const std::vector<float> bias = RandomFloats(layer.n, 2);
    for (const int64_t m : {1, 4, 8, 32, 128, 512}) {
      const int64_t a_stride = GemmRowStride(layer.k);  // as the engine lays out what a layer reads
      HugeFloats a(m * a_stride, 3);
      HugeFloats c(m * layer.n);
      GemmArgs args;
      args.m = m;
      args.a = a.data();
      args.a_stride = a_stride;
      args.b = w.packed;
      args.bias = bias.data();
      args.c = c.data();
      args.c_stride = layer.n;
      args.activation = layer.activation;
      const Roof roof = m == 1 ? Roof{Roof::Kind::kRead, w.memory.bytes()} : Roof{};
      perf.Measure(Name({m, layer.n, layer.k}) + " " + ActivationName(layer.activation),
                   GemmWork(args), roof, [&] { RunAll(args); });
    }
  }
}

void MeasureMatMul(Perf& perf) {
  for (const Shape s :
       {Shape{128, 128, 32}, {128, 32, 128}, {128, 128, 64}, {512, 512, 64}, {384, 384, 384}}) {
    for (const bool b_transposed : {false, true}) {
      constexpr int64_t kBatch = 12;
      const std::vector<float> a = RandomFloats(kBatch * s.m * s.k, 4);
      const std::vector<float> b = RandomFloats(kBatch * s.k * s.n, 5);
      std::vector<float> c(static_cast<size_t>(kBatch * s.m * s.n));
      MatMulArgs args;
      args.inner = kBatch;
      args.m = s.m;
      args.n = s.n;
      args.k = s.k;
      args.a = a.data();
      args.b = b.data();
      args.c = c.data();
      args.a_inner = s.m * s.k;
      args.a_row = s.k;
      args.b_inner = s.k * s.n;
      args.b_row = b_transposed ? 1 : s.n;
      args.b_column = b_transposed ? s.k : 1;
      args.c_inner = s.m * s.n;
      args.c_row = s.n;
      perf.Measure("12x " + Name(s) + (b_transposed ? " b transposed" : ""), MatMulWork(args), {},
                   [&] {
                     MatMul(args, {0, MatMulTiles(args)});
                   });
    }
  }
}

constexpr std::array kKernels = {
    Kernel{"gemm", CheckGemm, MeasureGemm},
    Kernel{"matmul", CheckMatMul, MeasureMatMul},
};

}  // namespace

std::span<const Kernel> GemmKernels() {
  return kKernels;
}

}  // namespace sluice::conformance
