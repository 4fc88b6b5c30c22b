// layer_bench HEADS DIM BATCH [ROUNDS]: the products, the attention and the norms of an f32 encoder
// layer over BATCH sequences of 128 tokens, one after the other, so that each finds its operands
// where the one before left them; then each on one sequence again and again, with all of it in L2.
// Percent of the multiply-add roof measured around each run, and what each step costs in percent of
// the time that the roof leaves the whole layer; medians. MiniLM: 12 32 16; BERT-base: 12 64 16.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/processor_time.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/packing.h"
#include "kernels/roof.h"
#include "kernels/row_norm.h"
#include "tensor/arena.h"

namespace {

using sluice::kernels::Activation;
using sluice::kernels::AttentionArgs;
using sluice::kernels::GemmArgs;

constexpr int64_t kTokens = 128;

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size()) / 2,
                   values.end());
  return values[values.size() / 2];
}

// A step of the layer; `run` takes it over `batch` sequences and returns its useful operations.
struct Step {
  std::string name;
  std::function<int64_t(int64_t batch)> run;
  std::vector<double> costs = {};       // operations that the roof does meanwhile, in the layer
  std::vector<double> costs_warm = {};  // with one sequence
  double flops = 0;                     // in the layer
  double flops_warm = 0;
};

class Layer {
 public:
  Layer(int64_t heads, int64_t dim, int64_t batch)
      : hidden_(heads * dim), arena_(MakeArena(hidden_, batch)) {
    const int64_t rows = batch * kTokens;
    const int64_t wide = sluice::kernels::GemmRowStride(4 * hidden_);
    float* const x = Fill(rows * hidden_);
    float* const qkv = Fill(rows * 3 * hidden_);
    float* const mixed = Fill(rows * hidden_);
    float* const projected = Fill(rows * hidden_);
    float* const inner = Fill(rows * wide);
    float* const out = Fill(rows * hidden_);
    GemmArgs args;
    args.a_stride = args.residual_stride = hidden_;
    args.a = x;
    args.c = qkv;
    args.c_stride = 3 * hidden_;
    AddProduct("qkv", args, hidden_, 3 * hidden_);
    AddAttention(heads, dim, qkv, mixed);
    args.a = mixed;
    args.residual = x;
    args.c = projected;
    args.c_stride = hidden_;
    AddProduct("projection + residual", args, hidden_, hidden_);
    AddNorm(projected);
    args.a = projected;
    args.residual = nullptr;
    args.c = inner;
    args.c_stride = wide;
    args.activation = Activation::kGeluErf;
    AddProduct("first, gelu", args, hidden_, 4 * hidden_);
    args.a = inner;
    args.a_stride = wide;
    args.residual = projected;
    args.c = out;
    args.c_stride = hidden_;
    args.activation = Activation::kNone;
    AddProduct("second + residual", args, 4 * hidden_, hidden_);
    AddNorm(out);
  }

  std::vector<Step>& steps() { return steps_; }

 private:
  static sluice::tensor::Arena MakeArena(int64_t hidden, int64_t batch) {
    const int64_t floats =
        batch * kTokens * (11 * hidden + 64) + 24 * hidden * hidden + 64 * hidden;
    auto arena = sluice::tensor::Arena::Create(floats * 4 + (1 << 20));
    CHECK(arena.ok());
    return std::move(*arena);
  }

  float* Take(int64_t bytes) {
    auto* const taken = reinterpret_cast<float*>(arena_.Take(bytes));
    CHECK(taken != nullptr);
    return taken;
  }

  float* Fill(int64_t count) {
    float* const values = Take(count * 4);
    uint32_t state = 1;
    for (int64_t i = 0; i < count; ++i) {
      state = state * 1664525 + 1013904223;
      values[i] = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    }
    return values;
  }

  void AddProduct(const std::string& name, GemmArgs args, int64_t k, int64_t n) {
    const auto target = sluice::kernels::ActiveTarget();
    args.bias = Fill(n);
    args.b = PackMatrix({.data = Fill(k * n), .k = k, .n = n, .k_stride = n, .n_stride = 1}, target,
                        Take(sluice::kernels::PackedMatrixBytes(k, n, target)));
    steps_.push_back({.name = name, .run = [args](int64_t batch) {
                        GemmArgs now = args;
                        now.m = batch * kTokens;
                        Gemm(now, {0, GemmTiles(now)});
                        return GemmWork(now).flops;
                      }});
  }

  // In place, as a plan has it.
  void AddNorm(float* x) {
    sluice::kernels::RowNormArgs args;
    args.columns = args.x_stride = args.y_stride = hidden_;
    args.x = args.y = x;
    args.scale = Fill(hidden_);
    args.bias = Fill(hidden_);
    steps_.push_back({.name = "norm", .run = [args](int64_t batch) {
                        sluice::kernels::RowNormArgs now = args;
                        now.rows = batch * kTokens;
                        RowNorm(now, {0, RowNormTiles(now)});
                        return int64_t{0};
                      }});
  }

  void AddAttention(int64_t heads, int64_t dim, const float* qkv, float* out) {
    AttentionArgs args;
    args.heads = heads;
    args.queries = args.keys = kTokens;
    args.dim = args.value_dim = dim;
    const int64_t row = 3 * hidden_;
    args.q = {qkv, kTokens * row, dim, row};
    args.k = {qkv + hidden_, kTokens * row, dim, row};
    args.v = {qkv + 2 * hidden_, kTokens * row, dim, row};
    args.out = out;
    args.out_batch = kTokens * hidden_;
    args.out_head = dim;
    args.out_row = hidden_;
    args.scale = 1 / std::sqrt(static_cast<float>(dim));
    steps_.push_back({.name = "attention", .run = [args](int64_t batch) {
                        AttentionArgs now = args;
                        now.batch = batch;
                        Attention(now, {0, AttentionTiles(now)});
                        return AttentionWork(now).flops;
                      }});
  }

  int64_t hidden_;
  sluice::tensor::Arena arena_;
  std::vector<Step> steps_;
};

// What one run over `batch` sequences costs, as operations that the roof does meanwhile; `flops`
// becomes what it does itself. `roof` was measured before and is measured again.
double Cost(Step& step, int64_t batch, int runs, double& roof, double& flops) {
  int64_t done = 0;
  const double start = sluice::base::ProcessorSeconds();
  for (int i = 0; i < runs; ++i) done += step.run(batch);
  const double seconds = sluice::base::ProcessorSeconds() - start;
  const double after = sluice::kernels::MultiplyAddRoof();
  const double cost = seconds * 1e9 * (roof + after) / 2 / runs;
  roof = after;
  flops = static_cast<double>(done) / runs;
  return cost;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, int64_t otherwise) {
    return argc > i ? std::max<int64_t>(1, std::atoll(argv[i])) : otherwise;
  };
  const int64_t batch = number(3, 16);
  Layer layer(number(1, 12), number(2, 32), batch);
  double roof = sluice::kernels::MultiplyAddRoof();
  for (int64_t round = number(4, 15); round > 0; --round) {
    for (Step& step : layer.steps()) {
      step.run(1);
      step.costs_warm.push_back(Cost(step, 1, 4, roof, step.flops_warm));
    }
    for (Step& step : layer.steps()) {
      step.costs.push_back(Cost(step, batch, 1, roof, step.flops));
    }
  }
  double flops = 0, cost = 0;
  for (const Step& step : layer.steps()) {
    flops += step.flops;
    cost += Median(step.costs);
  }
  std::printf("%-24s %10s %10s %8s %8s\n", "", "% of roof", "in L2", "flops %", "costs %");
  for (const Step& step : layer.steps()) {
    std::printf("%-24s %10.1f %10.1f %8.1f %8.1f\n", step.name.c_str(),
                100 * step.flops / Median(step.costs),
                100 * step.flops_warm / Median(step.costs_warm), 100 * step.flops / flops,
                100 * Median(step.costs) / flops);
  }
  std::printf("%-24s %10.1f %10s %8.1f %8.1f\n", "all of them", 100 * flops / cost, "", 100.0,
              100 * cost / flops);
  return 0;
}
