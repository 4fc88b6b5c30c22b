// Embedding look-ups and feature interactions against their references, on the active target.
#include <array>
#include <random>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/packing.h"
#include "kernels/ref/ranking.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::DType;

// Three look-ups of as many bags into tables of one type: plain or in bags, with ids in columns of
// a matrix; the last one is added to the first one's result.
struct LookupCase {
  static constexpr int64_t kTableRows = 50, kRows = 37, kTables = 3;
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<uint16_t>> halves;
  std::vector<int64_t> ids;
  std::vector<int32_t> narrow;
  std::vector<int64_t> offsets;
  std::vector<float> weights;
  std::array<Lookup, kTables> lookups;
  LookupsArgs args;
  int64_t stride = 0;

  LookupCase(DType type, int64_t columns, int64_t bag, int variant) {
    stride = 2 * columns + 3;
    std::mt19937 random(71);
    for (int64_t i = 0; i < kRows * kTables * (bag + 2); ++i)
      ids.push_back(static_cast<int64_t>(random()) % (2 * kTableRows) - kTableRows);
    narrow.assign(ids.begin(), ids.end());
    weights = RandomFloats(static_cast<int64_t>(ids.size()), 72);
    for (int64_t b = 0; b <= kRows; ++b) offsets.push_back(b == 0 ? 0 : offsets.back() + b % 4);
    for (int64_t t = 0; t < kTables; ++t) {
      floats.push_back(RandomFloats(kTableRows * columns, 73 + static_cast<uint32_t>(t)));
      halves.emplace_back();
      for (const float v : floats.back())
        halves.back().push_back(type == DType::kF16 ? tensor::ToF16(v).bits
                                                    : tensor::ToBF16(v).bits);
    }
    for (size_t t = 0; t < kTables; ++t) {
      Lookup& lookup = lookups[t];
      const void* data = halves[t].data();
      if (type == DType::kF32) data = floats[t].data();
      lookup.table = {data, type, kTableRows, columns};
      lookup.wide_ids = variant % 2 == 0;
      lookup.ids = {0, static_cast<int64_t>(t) * bag * (lookup.wide_ids ? 8 : 4)};
      lookup.ids_bag = kTables * bag;
      lookup.bag_size = bag;
      lookup.mean = variant == 1 || variant == 4;
      if (variant >= 3) {
        lookup.offsets = {2, 0};
        lookup.id_count = offsets.back();
        lookup.closed = variant != 4;
      }
      if (variant == 2 || variant == 5) {
        lookup.weights = {3, 0};
        lookup.weights_bag = 1;
        lookup.weights_step = 3;
      }
      lookup.y = {1, t == 1 ? columns * 4 : 0};
      lookup.y_stride = stride;
      lookup.accumulates = t == 2;
    }
    args.lookups = lookups.data();
    args.count = kTables;
    args.rows = kRows;
    args.bases[0] = variant % 2 == 0 ? static_cast<void*>(ids.data()) : narrow.data();
    args.bases[2] = offsets.data();
    args.bases[3] = weights.data();
  }
};

void CheckLookups(Report& report) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int64_t columns : {1, 4, 8, 16, 33, 64, 130, 300}) {
      for (int64_t bag : {1, 7}) {
        for (int variant = 0; variant < 6; ++variant) {
          LookupCase of(type, columns, bag, variant);
          Guarded got(LookupCase::kRows * of.stride), want(LookupCase::kRows * of.stride);
          of.args.bases[1] = got.data();
          const LookupFault fault = RunWhole(LookupsTiles, Lookups, of.args);
          of.args.bases[1] = want.data();
          (void)ref::Lookups(of.args);
          const std::string name = std::string(DTypeName(type)) + " " + std::to_string(columns) +
                                   " bag " + std::to_string(bag) + " variant " +
                                   std::to_string(variant);
          report.Expect(name + " all in range", fault.lookup < 0);
          report.Compare(name, got.values(), want.values(), 3.0);
          report.Expect(name + " stays inside", got.intact());
          RunBackwards(LookupsTiles, Lookups, of.args);
          report.SameBits(name + " tile by tile", want.values(), got.values());
        }
      }
    }
  }
}

void CheckFaults(Report& report) {
  LookupCase of(DType::kF32, 20, 7, 0);
  Guarded y(LookupCase::kRows * of.stride);
  of.args.bases[1] = y.data();
  for (int64_t bad : {LookupCase::kTableRows, -LookupCase::kTableRows - 1, INT64_MIN, INT64_MAX}) {
    const int64_t element = 5 * 21 + 7 + 3;  // bag 5 of the second look-up, its fourth id
    const int64_t was = of.ids[static_cast<size_t>(element)];
    of.ids[static_cast<size_t>(element)] = bad;
    const LookupFault fault = RunWhole(LookupsTiles, Lookups, of.args);
    report.Expect("a bad id is found", fault.lookup == 1 && !fault.offset && fault.value == bad &&
                                           fault.position == 5 * 7 + 3 &&
                                           fault.extent == LookupCase::kTableRows);
    of.ids[static_cast<size_t>(element)] = was;
  }
  LookupCase cut(DType::kF32, 20, 7, 3);
  cut.args.bases[1] = y.data();
  for (int64_t bad : {int64_t{-1}, cut.offsets.back() + 1, INT64_MIN, INT64_MAX}) {
    const int64_t was = cut.offsets[9];
    cut.offsets[9] = bad;
    const LookupFault fault = RunWhole(LookupsTiles, Lookups, cut.args);
    report.Expect("a bad offset is found",
                  fault.lookup == 0 && fault.offset && fault.position == 9 && fault.value == bad);
    cut.offsets[9] = was;
  }
}

void CheckAllLookups(Report& report) {
  CheckLookups(report);
  CheckFaults(report);
}

std::vector<PairRun> Triangle(int64_t features) {
  std::vector<PairRun> runs;
  int32_t at = 0;
  for (int32_t i = 1; i < features; ++i) {
    runs.push_back({i, 0, i, at});
    at += i;
  }
  return runs;
}

void CheckPairDots(Report& report) {
  for (int64_t features : {1, 2, 7, 16, 27, 33, 64, 128}) {
    for (int64_t columns : {1, 5, 16, 64, 130, 300}) {
      constexpr int64_t kBatch = 5;
      const auto runs = Triangle(features);
      PairDotsArgs args;
      args.batch = kBatch;
      args.features = features;
      args.columns = columns;
      args.pairs = features * (features - 1) / 2;
      args.runs = runs.data();
      args.run_count = static_cast<int64_t>(runs.size());
      args.x_row = columns + 1;
      args.x_batch = features * args.x_row + 3;
      args.y_stride = args.pairs + 2;
      const auto x = RandomFloats(kBatch * args.x_batch, 74);
      args.x = x.data();
      Guarded got(kBatch * args.y_stride), want(kBatch * args.y_stride);
      args.y = got.data();
      RunWhole(PairDotsTiles, PairDots, args);
      args.y = want.data();
      ref::PairDots(args);
      const std::string name = std::to_string(features) + "x" + std::to_string(columns);
      report.Compare(name, got.values(), want.values(), static_cast<double>(columns));
      report.Expect(name + " stays inside", got.intact());
      RunBackwards(PairDotsTiles, PairDots, args);
      report.SameBits(name + " tile by tile", want.values(), got.values());
    }
  }
}

void CheckSecondOrder(Report& report) {
  for (int64_t features : {1, 3, 26}) {
    for (int64_t columns : {1, 8, 16, 21, 64, 100}) {
      for (bool reduces : {true, false}) {
        constexpr int64_t kBatch = 9;
        SecondOrderArgs args;
        args.batch = kBatch;
        args.features = features;
        args.columns = columns;
        args.reduces = reduces;
        args.x_row = columns + 2;
        args.x_batch = features * args.x_row;
        args.y_stride = columns + 1;
        const auto x = RandomFloats(kBatch * args.x_batch, 75);
        args.x = x.data();
        Guarded got(kBatch * args.y_stride), want(kBatch * args.y_stride);
        args.y = got.data();
        RunWhole(SecondOrderTiles, SecondOrder, args);
        args.y = want.data();
        ref::SecondOrder(args);
        const std::string name =
            std::to_string(features) + "x" + std::to_string(columns) + (reduces ? " reduced" : "");
        report.Compare(name, got.values(), want.values(),
                       static_cast<double>(features * columns * 4));
        report.Expect(name + " stays inside", got.intact());
        RunBackwards(SecondOrderTiles, SecondOrder, args);
        report.SameBits(name + " tile by tile", want.values(), got.values());
      }
    }
  }
}

void CheckVectorCross(Report& report) {
  for (int64_t columns : {1, 7, 8, 16, 20, 33, 64, 100, 1037}) {
    for (bool biased : {true, false}) {
      constexpr int64_t kRows = 11;
      VectorCrossArgs args;
      args.rows = kRows;
      args.columns = columns;
      args.x0_row = columns + 3;
      args.x_row = columns + 1;
      args.y_row = columns + 2;
      const auto x0 = RandomFloats(kRows * args.x0_row, 110);
      const auto x = RandomFloats(kRows * args.x_row, 111);
      const auto weight = RandomFloats(columns, 112), bias = RandomFloats(columns, 113);
      args.x0 = x0.data();
      args.x = x.data();
      args.weight = weight.data();
      args.bias = biased ? bias.data() : nullptr;
      Guarded got(kRows * args.y_row), want(kRows * args.y_row);
      args.y = got.data();
      RunWhole(VectorCrossTiles, VectorCross, args);
      args.y = want.data();
      ref::VectorCross(args);
      const std::string name = std::to_string(columns) + (biased ? " with a bias" : "");
      report.Compare(name, got.values(), want.values(), static_cast<double>(columns));
      report.Expect(name + " stays inside", got.intact());
      RunBackwards(VectorCrossTiles, VectorCross, args);
      report.SameBits(name + " tile by tile", want.values(), got.values());
    }
  }
}

// A matrix, plain and packed.
struct Weight {
  std::vector<float> plain;
  std::vector<float> memory;
  PackedMatrix packed;

  Weight(int64_t k, int64_t n, uint32_t seed) : plain(RandomFloats(k * n, seed, -0.5F, 0.5F)) {
    memory.resize(static_cast<size_t>(PackedMatrixBytes(k, n, ActiveTarget()) / 4 + 16));
    auto at = reinterpret_cast<uintptr_t>(memory.data());
    at = (at + 63) / 64 * 64;
    packed = PackMatrix({plain.data(), DType::kF32, k, n, n, 1}, ActiveTarget(),
                        reinterpret_cast<float*>(at));
  }
};

void CheckRowMlp(Report& report) {
  for (int64_t rows : {1, 5, 14, 50}) {
    for (const auto& widths : std::vector<std::vector<int64_t>>{
             {36, 80, 40, 1}, {7, 33, 5}, {16, 512, 16, 3, 2}, {64, 1}}) {
      for (int variant = 0; variant < 3; ++variant) {  // rows alone, with a gate, crossed with it
        constexpr int64_t kGroups = 3;
        RowMlpArgs args;
        args.groups = kGroups;
        args.rows = rows;
        args.columns = widths[0];
        args.crosses = variant == 2;
        args.layer_count = static_cast<int32_t>(widths.size()) - 1;
        std::vector<Weight> layers;
        std::vector<std::vector<float>> biases;
        layers.reserve(widths.size());
        for (size_t i = 0; i + 1 < widths.size(); ++i) {
          const int64_t k = i == 0 && args.crosses ? 2 * widths[0] : widths[i];
          layers.emplace_back(k, widths[i + 1], 80 + static_cast<uint32_t>(i));
          biases.push_back(RandomFloats(widths[i + 1], 90 + static_cast<uint32_t>(i)));
          args.layers[i].b = layers.back().packed;
          args.layers[i].activation = std::array{Activation::kSigmoid, Activation::kRelu,
                                                 Activation::kNone, Activation::kTanh}[i];
        }
        for (size_t i = 0; i < biases.size(); ++i)
          args.layers[i].bias = i == 1 ? nullptr : biases[i].data();
        // Gates behind two of the layers, with numbers that are at hand.
        args.layers[0].gate = RowGate::kDice;
        args.layers[0].slope = biases[0].data();
        args.layers[0].scale = biases[0].data();
        args.layers[0].shift = biases[0].data();
        if (biases.size() > 1) {
          args.layers[1].gate = RowGate::kPRelu;
          args.layers[1].slope = biases[1].data();
        }
        const Weight gate_weight(widths[0], widths[1], 99);
        args.x_row = widths[0] + 1;
        args.x_group = rows * args.x_row + 2;
        const auto x = RandomFloats(kGroups * args.x_group, 100);
        const auto gate = RandomFloats(kGroups * widths[0], 101);
        args.x = x.data();
        if (variant > 0) {
          args.gate = gate.data();
          args.gate_group = widths[0];
          args.gate_weight = gate_weight.packed;
        }
        const int64_t count = kGroups * rows * widths.back();
        Guarded got(count), want(count);
        args.y = got.data();
        RunWhole(RowMlpTiles, RowMlp, args);
        args.y = want.data();
        std::vector<const float*> plain;
        for (const Weight& weight : layers) plain.push_back(weight.plain.data());
        ref::RowMlp(args, plain, gate_weight.plain.data());
        const std::string name = std::to_string(rows) + " rows of " + std::to_string(widths[0]) +
                                 " in " + std::to_string(args.layer_count) + " layers, variant " +
                                 std::to_string(variant);
        report.Compare(name, got.values(), want.values(), 16);
        report.Expect(name + " stays inside", got.intact());
        RunBackwards(RowMlpTiles, RowMlp, args);
        report.SameBits(name + " tile by tile", want.values(), got.values());
      }
    }
  }
}

void MeasureLookups(Perf& perf) {
  constexpr int64_t kTableRows = 1000000, kColumns = 64, kTables = 4, kBags = 128, kSize = 20;
  const std::vector<float> table = RandomFloats(kTableRows * kColumns, 76);
  std::vector<int64_t> ids(static_cast<size_t>(kTables * kBags * kSize));
  std::mt19937 random(77);
  for (int64_t& id : ids) id = static_cast<int64_t>(random()) % kTableRows;
  std::vector<float> y(static_cast<size_t>(kTables * kBags * kColumns));
  std::vector<Lookup> lookups(kTables);
  for (int64_t t = 0; t < kTables; ++t) {
    Lookup& lookup = lookups[static_cast<size_t>(t)];
    lookup.table = {table.data(), DType::kF32, kTableRows, kColumns};
    lookup.ids = {0, t * kSize * 8};
    lookup.ids_bag = kTables * kSize;
    lookup.bag_size = kSize;
    lookup.y = {1, t * kColumns * 4};
    lookup.y_stride = kTables * kColumns;
  }
  LookupsArgs args;
  args.lookups = lookups.data();
  args.count = kTables;
  args.rows = kBags;
  args.bases[0] = ids.data();
  args.bases[1] = y.data();
  perf.Measure("4 x 128 bags of 20, 1000000x64 f32", LookupsWork(args),
               {Roof::Kind::kRead, kTableRows * kColumns * 4},
               [&] { (void)RunWhole(LookupsTiles, Lookups, args); });
}

void MeasureRowMlp(Perf& perf) {
  const Weight w1(72, 80, 80), w2(80, 40, 81), w3(40, 1, 82), gate_weight(36, 80, 83);
  const auto x = RandomFloats(16 * 50 * 36, 84), gate = RandomFloats(16 * 36, 85);
  std::vector<float> y(16 * 50);
  RowMlpArgs args;
  args.groups = 16, args.rows = 50, args.columns = 36;
  args.x = x.data(), args.x_group = 50 * 36, args.x_row = 36;
  args.gate = gate.data(), args.gate_group = 36, args.gate_weight = gate_weight.packed;
  args.crosses = true, args.layer_count = 3;
  args.layers[0] = {w1.packed, nullptr, Activation::kSigmoid};
  args.layers[1] = {w2.packed, nullptr, Activation::kSigmoid};
  args.layers[2] = {w3.packed, nullptr, Activation::kNone};
  args.y = y.data();
  perf.Measure("16 of 50x36, layers 80, 40, 1", RowMlpWork(args), {},
               [&] { RunWhole(RowMlpTiles, RowMlp, args); });
}

void MeasurePairDots(Perf& perf) {
  const auto runs = Triangle(27);
  const auto x = RandomFloats(128 * 27 * 64, 78);
  std::vector<float> y(128 * 351);
  PairDotsArgs args{128,      27,      64, 351,      runs.data(), static_cast<int64_t>(runs.size()),
                    x.data(), 27 * 64, 64, y.data(), 351};
  perf.Measure("128 of 27x64", PairDotsWork(args), {},
               [&] { RunWhole(PairDotsTiles, PairDots, args); });
}

}  // namespace

std::span<const Kernel> RankingKernels() {
  static constexpr std::array kKernels = {
      Kernel{"lookups", CheckAllLookups, MeasureLookups},
      Kernel{"pair_dots", CheckPairDots, MeasurePairDots},
      Kernel{"second_order", CheckSecondOrder, nullptr},
      Kernel{"vector_cross", CheckVectorCross, nullptr},
      Kernel{"row_mlp", CheckRowMlp, MeasureRowMlp},
  };
  return kKernels;
}

}  // namespace sluice::conformance
