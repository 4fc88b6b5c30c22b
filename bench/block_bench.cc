// Products with weights in blocks on one core: one row against the roof of reading as many bytes,
// many rows against that of integer dots (vpdpbusd, without AMX; vpmaddubsw for avx2). Weights are
// the matrices of a model's layers, over and over, so that nothing stays in a cache.
//
// usage: block_bench [FORMAT|int4 [M [N K [MIB]]]] [--avx2] [--interleaved]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/processor_time.h"
#include "kernels/block_gemm.h"
#include "kernels/block_int4.h"
#include "kernels/low_path.h"
#include "kernels/roof.h"
#include "kernels/target.h"
#include "tensor/arena.h"
#include "tensor/float16.h"

namespace sluice {
namespace {

using namespace kernels;
using tensor::BlockFormat;

constexpr int kRounds = 9;

struct Options {
  std::string format = "all";
  int64_t m = 1, n = 4864, k = 1024, mib = 256;
  bool interleaved = false;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Bytes that read as small numbers in every format.
void FillBlocks(BlockFormat format, std::byte* data, int64_t bytes) {
  const int64_t block = tensor::BlockBytes(format);
  const uint16_t half = tensor::ToF16(0.01f).bits;
  for (int64_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 7 + i / 64);
  for (int64_t at = 0; at + block <= bytes; at += block) {
    std::memcpy(data + at, &half, 2);
    if (block > 2) std::memcpy(data + at + 2, &half, 2);
    if (format == BlockFormat::kQ6_K) std::memcpy(data + at + 208, &half, 2);
  }
}

// `group` above 0: int4.
void Measure(BlockFormat format, int64_t group, const Options& options) {
  BlockMatrix w;
  w.k = options.k;
  w.n = options.n;
  w.format = format;
  w.group = group;
  if (group == 0) {
    const auto made = BlockMatrixOf(nullptr, format, options.n, options.k);
    if (!made.ok()) {
      std::printf("%s\n", made.error().message.c_str());
      return;
    }
    w = *made;
    // Filled as rows; in another order they are as good.
    w.interleaved = options.interleaved && TakesBlockRows(w) && w.n % 16 == 0;
  }
  const int64_t bytes =
      group > 0 ? Int4Bytes(w.k, w.n, group, Int4Kind::kSymmetric) : w.n * w.row_bytes;
  const int64_t matrices = options.m > 8 ? 1 : std::max<int64_t>(1, (options.mib << 20) / bytes);
  auto weights = tensor::Arena::Create(matrices * bytes).value();
  std::byte* const data = weights.Take(matrices * bytes);
  if (group > 0) {
    // As bf16 0.0115.
    std::memset(data, 0x3c, static_cast<size_t>(matrices * bytes));
  } else {
    for (int64_t i = 0; i < matrices; ++i) FillBlocks(format, data + i * bytes, bytes);
  }
  const int64_t m = options.m, stride = BlockCodeStride(w.k);
  std::vector<float> a(static_cast<size_t>(m * w.k), 0.5f), c(static_cast<size_t>(m * w.n));
  std::vector<float> scales(static_cast<size_t>(m * w.k / 32 + 1)), code_sums(scales.size());
  std::vector<int32_t> sums(scales.size()), half_sums(2 * scales.size());
  auto codes = tensor::Arena::Create(m * stride).value();
  BlockGemmArgs args;
  args.m = m;
  args.w = w;
  args.a = a.data();
  args.a_stride = w.k;
  args.rows = {reinterpret_cast<int8_t*>(codes.Take(m * stride)),
               scales.data(),
               sums.data(),
               half_sums.data(),
               code_sums.data(),
               stride};
  args.c = c.data();
  args.c_stride = w.n;
  if (TakesBlockRows(w)) {
    const PrepareBlockRowsArgs prepare = {
        .m = m, .k = w.k, .a = args.a, .a_stride = w.k, .rows = args.rows};
    PrepareBlockRows(prepare, {0, PrepareBlockRowsTiles(prepare)});
  }
  const int64_t tiles = BlockGemmTiles(args);
  const auto run = [&] {
    for (int64_t i = 0; i < matrices; ++i) {
      args.w.data = data + i * bytes;
      for (int64_t t = 0; t < tiles; ++t) BlockGemm(args, {t, t + 1});
    }
  };
  const bool vnni = (LowFeatures() & kHasVnni) != 0;
  const auto roof = [&] {
    if (m == 1) return ReadRoof(matrices * bytes);
    if (!TakesBlockRows(w)) return MultiplyAddRoof();
    return LowPathRoof(vnni ? LowPath::kVnni : LowPath::kBytes);
  };
  const double amount =
      static_cast<double>(m == 1 ? matrices * bytes : 2 * m * w.n * w.k * matrices) / 1e9;
  run();
  (void)roof();
  std::vector<double> rates, roofs, shares;
  for (int round = 0; round < kRounds; ++round) {
    const double start = base::ProcessorSeconds();
    run();
    rates.push_back(amount / (base::ProcessorSeconds() - start));
    roofs.push_back(roof());
    shares.push_back(rates.back() / roofs.back());
  }
  std::string name(tensor::BlockFormatName(format));
  if (group > 0) name = "int4 / " + std::to_string(group);
  if (w.interleaved) name += " (i)";
  std::printf("%-10s M %4lld  N %lld K %lld  %8.1f %s  roof %8.1f  %5.1f %% (best/best %5.1f %%)\n",
              name.c_str(), static_cast<long long>(m), static_cast<long long>(w.n),
              static_cast<long long>(w.k), Median(rates), m == 1 ? "GB/s " : "GOP/s", Median(roofs),
              100 * Median(shares),
              100 * *std::max_element(rates.begin(), rates.end()) /
                  *std::max_element(roofs.begin(), roofs.end()));
  std::fflush(stdout);
}

int Run(const Options& options) {
  bool found = false;
  for (int f = 0; f < tensor::kBlockFormatCount; ++f) {
    const auto format = static_cast<BlockFormat>(f);
    if (!BlockGemmTakes(format)) continue;
    if (options.format != "all" && options.format != tensor::BlockFormatName(format)) continue;
    found = true;
    Measure(format, 0, options);
  }
  if (options.format == "all" || options.format == "int4") {
    found = true;
    for (const int64_t group : {32, 64, 128}) Measure(BlockFormat::kQ4_0, group, options);
  }
  if (!found) std::fprintf(stderr, "block_bench: no format '%s'\n", options.format.c_str());
  return found ? 0 : 2;
}

}  // namespace
}  // namespace sluice

int main(int count, char** words) {
  using namespace sluice;
  if (const base::Status cpu = kernels::CheckCpu(); !cpu.ok()) {
    std::fprintf(stderr, "%s\n", cpu.error().message.c_str());
    return 1;
  }
  kernels::LimitLowFeaturesForTesting(kernels::kHasVnni);
  Options options;
  int64_t* const numbers[] = {&options.m, &options.n, &options.k, &options.mib};
  size_t at = 0;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(words[i], "--avx2") == 0) {
      kernels::SetTargetForTesting(kernels::Target::kAvx2);
    } else if (std::strcmp(words[i], "--interleaved") == 0) {
      options.interleaved = true;
    } else if (i == 1) {
      options.format = words[i];
    } else if (at < std::size(numbers)) {
      *numbers[at] = std::atoll(words[i]);
      if (*numbers[at++] < 1) return 2;
    }
  }
  return Run(options);
}
