// Embedding look-ups and feature interactions against their references, on the active target.
#include <array>
#include <random>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
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
  };
  return kKernels;
}

}  // namespace sluice::conformance
