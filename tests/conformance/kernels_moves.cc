// Gathers, transposes and conversions against their references, on the active target.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/ref/rows.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::DType;

// A table of one type.
struct Table {
  std::vector<float> f32;
  std::vector<uint16_t> half;
  TableView view;

  Table(DType type, int64_t rows, int64_t columns, uint32_t seed)
      : f32(RandomFloats(rows * columns, seed)) {
    for (float v : f32)
      half.push_back(type == DType::kF16 ? tensor::ToF16(v).bits : tensor::ToBF16(v).bits);
    const void* data = half.data();
    if (type == DType::kF32) data = f32.data();
    view = {data, type, rows, columns};
  }
};

constexpr std::array kTableTypes = {DType::kF32, DType::kF16, DType::kBF16};

std::vector<int64_t> RandomIndices(int64_t count, int64_t rows, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int64_t> indices(static_cast<size_t>(count));
  for (int64_t& i : indices) i = static_cast<int64_t>(random()) % (2 * rows) - rows;
  return indices;
}

void CheckGatherRows(Report& report) {
  for (const DType type : kTableTypes) {
    for (int64_t columns : {1, 3, 8, 16, 17, 64, 100, 384}) {
      constexpr int64_t kRows = 50, kCount = 333;
      const Table table(type, kRows, columns, 51);
      const auto wide = RandomIndices(kCount, kRows, 52);
      const std::vector<int32_t> narrow(wide.begin(), wide.end());
      for (bool is_wide : {true, false}) {
        const int64_t stride = columns + 2;
        Guarded got(kCount * stride), want(kCount * stride);
        GatherRowsArgs args;
        args.table = table.view;
        args.indices.wide = is_wide;
        args.indices.data = narrow.data();
        if (is_wide) args.indices.data = wide.data();
        args.count = kCount;
        args.y = got.data();
        args.y_stride = stride;
        const int64_t bad = RunWhole(GatherRowsTiles, GatherRows, args);
        args.y = want.data();
        (void)ref::GatherRows(args);
        const std::string name = std::string(DTypeName(type)) + " " + std::to_string(columns);
        report.Expect(name + " all in range", bad == kAllInRange);
        report.SameBits(name, got.values(), want.values());
        report.Expect(name + " stays inside", got.intact());
      }
    }
  }
}

void CheckBadIndices(Report& report) {
  const Table table(DType::kF32, 10, 20, 53);
  for (int64_t bad :
       {int64_t{10}, int64_t{-11}, std::numeric_limits<int64_t>::min(), int64_t{1} << 62}) {
    std::vector<int64_t> indices(100, 3);
    indices[41] = indices[77] = bad;
    Guarded y(2000);
    GatherRowsArgs rows{table.view, {indices.data(), true}, 100, y.data(), 20};
    report.Expect("a bad index is reported", RunWhole(GatherRowsTiles, GatherRows, rows) == 41);
    report.Expect("its row is left alone",
                  y.values()[41 * 20] == -12345.0f && y.values()[42 * 20] != -12345.0f);
    GatherBytesArgs bytes{table.f32.data(), 10, 80, {indices.data(), true}, 100, y.data()};
    report.Expect("a bad index is reported bytewise",
                  RunWhole(GatherBytesTiles, GatherBytes, bytes) == 41);
  }
}

void CheckGather(Report& report) {
  CheckGatherRows(report);
  CheckBadIndices(report);
  // Bytes of odd sizes.
  for (int64_t row_bytes : {1, 4, 8, 12, 100}) {
    std::vector<uint8_t> table(static_cast<size_t>(30 * row_bytes));
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(i * 37);
    const auto indices = RandomIndices(64, 30, 54);
    std::vector<uint8_t> y(static_cast<size_t>(64 * row_bytes));
    GatherBytesArgs args{table.data(), 30, row_bytes, {indices.data(), true}, 64, y.data()};
    bool same = RunWhole(GatherBytesTiles, GatherBytes, args) == kAllInRange;
    for (size_t i = 0; i < 64; ++i) {
      const int64_t row = indices[i] < 0 ? indices[i] + 30 : indices[i];
      same =
          same && std::memcmp(y.data() + static_cast<int64_t>(i) * row_bytes,
                              table.data() + row * row_bytes, static_cast<size_t>(row_bytes)) == 0;
    }
    report.Expect("bytes " + std::to_string(row_bytes), same);
  }
}

// Sizes with a path of their own and sizes without, at strides that leave gaps.
void CheckCopyRows(Report& report) {
  for (int64_t bytes : {1, 3, 4, 8, 12, 16, 32, 60, 64, 128, 1000, 70000}) {
    constexpr int64_t kRows = 21;
    const int64_t x_stride = bytes + 5, y_stride = bytes + 9;
    std::vector<uint8_t> x(static_cast<size_t>(kRows * x_stride)),
        y(static_cast<size_t>(kRows * y_stride), 0xa5);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 31 + i / 256);
    const CopyRowsArgs args{kRows, bytes, x.data(), x_stride, y.data(), y_stride};
    RunBackwards(CopyRowsTiles, CopyRows, args);
    bool same = true;
    for (int64_t i = 0; i < kRows * y_stride; ++i) {
      const int64_t row = i / y_stride, at = i % y_stride;
      const uint8_t want = at < bytes ? x[static_cast<size_t>(row * x_stride + at)] : uint8_t{0xa5};
      same = same && y[static_cast<size_t>(i)] == want;
    }
    report.Expect("rows of " + std::to_string(bytes) + " bytes", same);
  }
}

void CheckOneTranspose(Report& report, std::span<const int64_t> shape, std::span<const int> perm,
                       int bytes) {
  TransposeArgs args;
  args.rank = static_cast<int>(shape.size());
  args.element_bytes = bytes;
  int64_t n = 1;
  std::string name = std::to_string(bytes) + " bytes";
  for (size_t d = 0; d < shape.size(); ++d) {
    args.shape[d] = shape[d];
    args.perm[d] = perm[d];
    n *= shape[d];
    name += " " + std::to_string(shape[d]) + "/" + std::to_string(perm[d]);
  }
  std::vector<uint8_t> x(static_cast<size_t>(n * bytes)), got(x.size() + 64, 0xa5), want = got,
                                                                                    again = got;
  std::mt19937 random(58);
  for (uint8_t& b : x) b = static_cast<uint8_t>(random());
  args.x = x.data();
  args.y = got.data();
  RunWhole(TransposeTiles, Transpose, args);
  args.y = want.data();
  ref::Transpose(args);
  args.y = again.data();
  RunBackwards(TransposeTiles, Transpose, args);
  report.Expect(name, got == want);
  report.Expect(name + " tile by tile", again == want);
}

void CheckTranspose(Report& report) {
  CheckCopyRows(report);
  for (int bytes : {1, 2, 4, 8, 16}) {
    for (const std::array<int64_t, 2> s : {std::array<int64_t, 2>{1, 1},
                                           {1, 9},
                                           {8, 8},
                                           {7, 9},
                                           {16, 24},
                                           {33, 65},
                                           {100, 384},
                                           {1030, 70},
                                           {0, 5}}) {
      CheckOneTranspose(report, s, std::array{1, 0}, bytes);
    }
    const std::array<int64_t, 4> shape = {3, 17, 4, 20};
    std::array perm = {0, 1, 2, 3};
    do {
      CheckOneTranspose(report, shape, perm, bytes);
    } while (std::next_permutation(perm.begin(), perm.end()));
    CheckOneTranspose(report, std::array<int64_t, 5>{2, 1, 3, 1, 5}, std::array{4, 3, 2, 1, 0},
                      bytes);
  }
}

// Every f16 and bf16 bit pattern up, and rounding down against the scalar conversions.
void CheckConvert(Report& report) {
  std::vector<uint16_t> bits(65536 + 3);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  for (const DType type : {DType::kF16, DType::kBF16}) {
    Guarded got(65539), want(65539);
    const std::string name(DTypeName(type));
    ConvertArgs up{type, DType::kF32, 65539, bits.data(), got.data()};
    RunWhole(ConvertTiles, Convert, up);
    for (size_t i = 0; i < bits.size(); ++i) {
      want.data()[i] = type == DType::kF16 ? tensor::ToFloat(tensor::F16{bits[i]})
                                           : tensor::ToFloat(tensor::BF16{bits[i]});
    }
    report.Compare(name + " up", got.values(), want.values());
    report.Expect(name + " stays inside", got.intact());
    std::vector<float> x = RandomFloats(20003, 59, -7e4f, 7e4f);
    for (size_t i = 0; i < x.size(); i += 2) x[i] *= std::ldexp(1.0f, -static_cast<int>(i % 42));
    x[1] = NAN, x[3] = -std::numeric_limits<float>::infinity(), x[5] = 65520.0f,
    x[7] = 1.0009765625f;
    x[9] = 3.4028235e38f, x[20002] = NAN;
    std::vector<uint16_t> y(x.size(), 0);
    ConvertArgs down{DType::kF32, type, 20003, x.data(), y.data()};
    RunWhole(ConvertTiles, Convert, down);
    int64_t wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const uint16_t expected =
          type == DType::kF16 ? tensor::ToF16(x[i]).bits : tensor::ToBF16(x[i]).bits;
      const float value = type == DType::kF16 ? tensor::ToFloat(tensor::F16{y[i]})
                                              : tensor::ToFloat(tensor::BF16{y[i]});
      if (std::isnan(x[i]) ? !std::isnan(value) : y[i] != expected) ++wrong;
    }
    report.Expect(name + " down: " + std::to_string(wrong) + " differ", wrong == 0);
  }
  std::vector<int64_t> i64(1001);
  std::vector<int32_t> i32(1001);
  Guarded got(1001);
  for (size_t i = 0; i < i64.size(); ++i) {
    i64[i] = static_cast<int64_t>(i * i * i * 7919) - 12345;
    i32[i] = static_cast<int32_t>(i * 2097169) - 1000000007;
  }
  bool same = true;
  RunWhole(ConvertTiles, Convert,
           ConvertArgs{DType::kI64, DType::kF32, 1001, i64.data(), got.data()});
  for (size_t i = 0; i < i64.size(); ++i)
    same = same && got.values()[i] == static_cast<float>(i64[i]);
  RunWhole(ConvertTiles, Convert,
           ConvertArgs{DType::kI32, DType::kF32, 1001, i32.data(), got.data()});
  for (size_t i = 0; i < i32.size(); ++i)
    same = same && got.values()[i] == static_cast<float>(i32[i]);
  report.Expect("integers", same);
}

void MeasureGather(Perf& perf) {
  for (const auto& [rows, columns] : {std::array<int64_t, 2>{30522, 384}, {1000000, 16}}) {
    for (const DType type : {DType::kF32, DType::kF16}) {
      const Table table(type, rows, columns, 60);
      const auto indices = RandomIndices(2048, rows, 61);
      std::vector<float> y(static_cast<size_t>(2048 * columns));
      GatherRowsArgs args{table.view, {indices.data(), true}, 2048, y.data(), columns};
      const Work work = GatherRowsWork(args);
      perf.Measure("2048 of " + std::to_string(rows) + "x" + std::to_string(columns) + " " +
                       std::string(DTypeName(type)),
                   work, {Roof::Kind::kRead, work.bytes},
                   [&] { (void)RunWhole(GatherRowsTiles, GatherRows, args); });
    }
  }
}

void MeasureTranspose(Perf& perf) {
  const std::vector<float> x = RandomFloats(16 * 128 * 384, 64);
  std::vector<float> y(x.size());
  const auto measure = [&](const char* name, std::span<const int64_t> shape,
                           std::span<const int> perm) {
    TransposeArgs args;
    args.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), args.shape);
    std::copy(perm.begin(), perm.end(), args.perm);
    args.x = x.data();
    args.y = y.data();
    const Work work = TransposeWork(args);
    perf.Measure(name, work, {Roof::Kind::kRead, work.bytes},
                 [&] { RunWhole(TransposeTiles, Transpose, args); });
  };
  measure("384x384 turned", std::array<int64_t, 2>{384, 384}, std::array{1, 0});
  measure("2048x384 turned", std::array<int64_t, 2>{2048, 384}, std::array{1, 0});
  measure("16x128x12x32 to 0213", std::array<int64_t, 4>{16, 128, 12, 32}, std::array{0, 2, 1, 3});
  measure("16x128x12x32 to 0231", std::array<int64_t, 4>{16, 128, 12, 32}, std::array{0, 2, 3, 1});
}

void MeasureConvert(Perf& perf) {
  const std::vector<uint16_t> x(1 << 20, 0x3c00);
  std::vector<float> y(x.size());
  for (const DType type : {DType::kF16, DType::kBF16}) {
    const ConvertArgs args{type, DType::kF32, 1 << 20, x.data(), y.data()};
    const Work work = ConvertWork(args);
    perf.Measure(std::string(DTypeName(type)) + " to f32, 1 Mi", work,
                 {Roof::Kind::kRead, work.bytes}, [&] { RunWhole(ConvertTiles, Convert, args); });
  }
}

}  // namespace

std::span<const Kernel> MoveKernels() {
  static constexpr std::array kKernels = {
      Kernel{"gather_rows", CheckGather, MeasureGather},
      Kernel{"transpose", CheckTranspose, MeasureTranspose},
      Kernel{"convert", CheckConvert, MeasureConvert},
  };
  return kKernels;
}

}  // namespace sluice::conformance
