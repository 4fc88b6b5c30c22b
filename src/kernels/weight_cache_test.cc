#include "kernels/weight_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "kernels/low_packing.h"
#include "kernels/weight_store.h"

namespace sluice::kernels {
namespace {

WeightCache::Name NameOf(const WeightCache& cache, const MatrixSource& source,
                         Target target = ActiveTarget()) {
  return cache.NameOf(MatrixParts(&source, 1), target);
}

class WeightCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/weights_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<WeightCache> Open(int64_t bytes_max = int64_t{1} << 30) {
    auto opened = WeightCache::Open({folder_, bytes_max});
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
    return std::move(opened).value();
  }
  // A store of its own over the folder, as another process would have one.
  std::unique_ptr<WeightStore> Store(int64_t bytes_max = int64_t{1} << 30) {
    auto store = std::make_unique<WeightStore>();
    store->UseCache(Open(bytes_max));
    return store;
  }
  static std::vector<float> Values(int64_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& x : values) x = normal(random);
    return values;
  }
  static MatrixSource Source(const std::vector<float>& values, int64_t k, int64_t n,
                             bool transposed = false) {
    return {values.data(), tensor::DType::kF32, k, n, transposed ? 1 : n, transposed ? k : 1};
  }
  std::vector<std::filesystem::path> Files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() == ".packed") files.push_back(entry.path());
    }
    return files;
  }
  static void FlipBits(const std::filesystem::path& file, int64_t at, char bits) {
    std::filesystem::permissions(file, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(at);
    const char old = static_cast<char>(bytes.get());
    bytes.seekp(at);
    bytes.put(static_cast<char>(old ^ bits));
  }
  static bool Same(const PackedWeight& a, const PackedWeight& b) {
    return a.bytes() == b.bytes() &&
           std::memcmp(a.matrix().data, b.matrix().data, static_cast<size_t>(a.bytes())) == 0;
  }

  std::string folder_;
};

TEST_F(WeightCacheTest, WhatOneProcessPackedTheNextOneMaps) {
  for (const bool transposed : {false, true}) {
    const std::vector<float> values = Values(70 * 45, 1);
    WeightStore plain;
    const auto expected = plain.Pack(Source(values, 70, 45, transposed)).value();
    const auto packed = Store()->Pack(Source(values, 70, 45, transposed)).value();
    ASSERT_TRUE(Same(*packed, *expected));
    const auto before = std::filesystem::last_write_time(Files().at(0));
    const auto store = Store();
    const auto mapped = store->Pack(Source(values, 70, 45, transposed)).value();
    EXPECT_TRUE(Same(*mapped, *expected));
    EXPECT_NE(mapped->matrix().data, packed->matrix().data);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped->matrix().data) % 64, 0U);
    EXPECT_GE(std::filesystem::last_write_time(Files().at(0)), before);
    // Within a process there is one copy.
    EXPECT_EQ(store->Pack(Source(values, 70, 45, transposed)).value(), mapped);
    EXPECT_EQ(store->resident_count(), 1);
    EXPECT_EQ(store->resident_bytes(), mapped->bytes());
    EXPECT_EQ(Files().size(), transposed ? 2U : 1U);
  }
}

TEST_F(WeightCacheTest, EveryPartOfALargeWeightCountsForItsName) {
  const auto cache = Open();
  constexpr int64_t kPageFloats = 1024;
  // Two and a half blocks of four pages, and a line that is not whole.
  std::vector<float> values = Values(10 * kPageFloats + 7, 9);
  const auto count = static_cast<int64_t>(values.size());
  std::set<WeightCache::Name> names = {NameOf(*cache, Source(values, 1, count))};
  const auto add = [&] { names.insert(NameOf(*cache, Source(values, 1, count))); };
  for (int64_t at = 0; at < count; at += kPageFloats / 2) {
    float& x = values[static_cast<size_t>(at)];
    x += 1;
    add();
    x -= 1;
  }
  const auto page = [&](int64_t i) { return values.begin() + i * kPageFloats; };
  for (const auto& [a, b] : {std::pair(0, 1), std::pair(2, 3), std::pair(0, 4), std::pair(8, 9)}) {
    std::swap_ranges(page(a), page(a + 1), page(b));
    add();
    std::swap_ranges(page(a), page(a + 1), page(b));
  }
  EXPECT_EQ(names.size(), 1 + 21 + 4U);
}

// Elements that are put together of raw ones when somebody looks at them.
class Rotated final : public tensor::DeferredBytes {
 public:
  // `changed`: the raw elements change while they are read.
  Rotated(std::vector<float> raw, bool rotated, bool changed)
      : DeferredBytes(static_cast<int64_t>(raw.size() * sizeof(float))),
        raw_(std::move(raw)),
        rotated_(rotated),
        changed_(changed) {}
  void Describe(Origin& origin) const override {
    if (rotated_) origin.recipe += "rotated";
    origin.pieces.push_back(std::as_bytes(std::span(raw_)));
  }

 private:
  void Write(std::byte* to) const override {
    if (changed_) raw_[0] += 1;
    std::vector<float> values = raw_;
    if (rotated_) std::rotate(values.begin(), values.begin() + 1, values.end());
    std::memcpy(to, values.data(), values.size() * sizeof(float));
  }
  mutable std::vector<float> raw_;
  const bool rotated_;
  const bool changed_;
};

tensor::Buffer Deferred(std::vector<float> raw, bool rotated = false, bool changed = false) {
  return tensor::Buffer::Defer(std::make_shared<const Rotated>(std::move(raw), rotated, changed));
}

TEST_F(WeightCacheTest, ElementsThatNobodyHasMadeAreNotMadeWhereTheirPackedFormIsThere) {
  std::vector<float> values = Values(70 * 45, 6);
  for (const bool rotated : {false, true}) {
    const tensor::Buffer first = Deferred(values, rotated);
    MatrixSource source = Source(values, 70, 45);
    source.data = nullptr;
    source.buffer = &first;
    const auto packed = Store()->Pack(source).value();
    EXPECT_TRUE(first.made());
    const tensor::Buffer again = Deferred(values, rotated);
    source.buffer = &again;
    const auto mapped = Store()->Pack(source).value();
    EXPECT_FALSE(again.made());
    EXPECT_TRUE(Same(*mapped, *packed));
    std::vector<float> expected = values;
    if (rotated) std::rotate(expected.begin(), expected.begin() + 1, expected.end());
    WeightStore plain;
    EXPECT_TRUE(Same(*mapped, *plain.Pack(Source(expected, 70, 45)).value()));
    EXPECT_EQ(Files().size(), rotated ? 2U : 1U);
  }
  // Whoever has made them asks for the same name.
  const auto made = Store()->Pack(Source(values, 70, 45)).value();
  EXPECT_EQ(Files().size(), 2U);
}

TEST_F(WeightCacheTest, WhatChangesWhileItIsReadIsKeptUnderNoName) {
  const std::vector<float> values = Values(40 * 40, 7);
  const tensor::Buffer changing = Deferred(values, false, true);
  MatrixSource source = Source(values, 40, 40);
  source.data = nullptr;
  source.buffer = &changing;
  const auto packed = Store()->Pack(source);
  ASSERT_FALSE(packed.ok());
  EXPECT_EQ(packed.error().code, base::Code::kUnavailable);
  const auto store = Store();
  const tensor::Buffer held = store->Hold(Deferred(values, false, true));
  EXPECT_EQ(reinterpret_cast<const float*>(held.data())[0], values[0] + 1);
  EXPECT_EQ(Files().size(), 0U);
}

TEST_F(WeightCacheTest, TablesAreMappedAsTheyAreAndMadeAnewWhereTheFileIsDamaged) {
  const std::vector<float> values = Values(3000, 8);
  const auto bytes = values.size() * sizeof(float);
  for (int turn = 0; turn < 3; ++turn) {
    const tensor::Buffer table = Deferred(values);
    const tensor::Buffer held = Store()->Hold(table);
    ASSERT_EQ(held.bytes(), static_cast<int64_t>(bytes));
    EXPECT_EQ(std::memcmp(held.data(), values.data(), bytes), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(held.data()) % tensor::kAlignment, 0U);
    EXPECT_EQ(table.made(), turn != 1);  // made, mapped, made anew
    ASSERT_EQ(Files().size(), 1U);
    if (turn == 1) FlipBits(Files()[0], 200, 1);
  }
  WeightStore plain;
  EXPECT_EQ(std::memcmp(plain.Hold(Deferred(values)).data(), values.data(), bytes), 0);
}

TEST_F(WeightCacheTest, OtherElementsShapesOrOrdersHaveOtherNames) {
  const auto cache = Open();
  std::vector<float> values = Values(12 * 12, 2);
  const auto name = [&](const MatrixSource& source) { return NameOf(*cache, source); };
  const auto first = name(Source(values, 12, 12));
  EXPECT_EQ(first, name(Source(values, 12, 12)));
  EXPECT_NE(first, name(Source(values, 12, 12, true)));
  EXPECT_NE(first, name(Source(values, 6, 24)));
  EXPECT_NE(first, NameOf(*cache, Source(values, 12, 12),
                          ActiveTarget() == Target::kAvx2 ? Target::kAvx512 : Target::kAvx2));
  for (const size_t at : {size_t{0}, size_t{77}, size_t{143}}) {
    const float kept = values[at];
    values[at] = std::nextafter(kept, 10.0F);
    EXPECT_NE(first, name(Source(values, 12, 12))) << at;
    values[at] = kept;
  }
  EXPECT_EQ(first, name(Source(values, 12, 12)));
}

TEST_F(WeightCacheTest, NamesAreTheFoldersSecret) {
  const std::vector<float> values = Values(64, 3);
  const auto here = NameOf(*Open(), Source(values, 8, 8));
  EXPECT_EQ(NameOf(*Open(), Source(values, 8, 8)), here);
  std::filesystem::remove_all(folder_);
  EXPECT_NE(NameOf(*Open(), Source(values, 8, 8)), here);
}

TEST_F(WeightCacheTest, ADamagedFileIsPackedAnew) {
  const std::vector<float> values = Values(50 * 33, 4);
  WeightStore plain;
  const auto expected = plain.Pack(Source(values, 50, 33)).value();
  (void)Store()->Pack(Source(values, 50, 33)).value();
  const std::filesystem::path file = Files().at(0);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(file));
  for (const int64_t at :
       {int64_t{0}, int64_t{9}, int64_t{33}, int64_t{57}, int64_t{64}, size / 2, size - 1}) {
    FlipBits(file, at, 0x10);
    EXPECT_TRUE(Same(*Store()->Pack(Source(values, 50, 33)).value(), *expected)) << at;
    EXPECT_TRUE(Same(*Store()->Pack(Source(values, 50, 33)).value(), *expected)) << at;
  }
  std::filesystem::resize_file(file, static_cast<uintmax_t>(size / 3));
  EXPECT_TRUE(Same(*Store()->Pack(Source(values, 50, 33)).value(), *expected));
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(file)), size) << "written anew";
}

// On every path that packing can choose here.
template <class F>
void OnEveryLowPath(F f) {
  for (const uint32_t mask : {~0u, kHasVnni, 0u}) {
    LimitLowFeaturesForTesting(mask);
    for (const WeightForm form : {WeightForm::kBF16, WeightForm::kInt8, WeightForm::kBF16Storage,
                                  WeightForm::kInt8Storage}) {
      f(form);
    }
  }
  LimitLowFeaturesForTesting(~0u);
}

bool SameLow(const LowWeight& a, const LowWeight& b) {
  if (a.bytes() != b.bytes() || a.matrix().path != b.matrix().path) return false;
  for (int64_t k = 0; k < a.matrix().k; ++k) {
    for (int64_t n = 0; n < a.matrix().n; ++n) {
      if (LowElement(a.matrix(), k, n) != LowElement(b.matrix(), k, n)) return false;
    }
  }
  return std::memcmp(a.matrix().data, b.matrix().data, static_cast<size_t>(a.bytes())) == 0;
}

TEST_F(WeightCacheTest, WeightsOf16And8BitsAreMappedFormByForm) {
  // Small values beside a large one in each column: neighbours cannot saturate bytes.
  std::vector<float> values = Values(70 * 45, 5);
  for (size_t i = 45; i < values.size(); ++i) values[i] *= 0.01F;
  OnEveryLowPath([&](WeightForm form) {
    WeightStore plain;
    const auto expected = plain.PackLow(Source(values, 70, 45), form).value();
    const auto packed = Store()->PackLow(Source(values, 70, 45), form).value();
    ASSERT_TRUE(SameLow(*packed, *expected)) << WeightFormName(form);
    const size_t files = Files().size();
    const auto store = Store();
    const auto mapped = store->PackLow(Source(values, 70, 45), form).value();
    EXPECT_TRUE(SameLow(*mapped, *expected)) << WeightFormName(form);
    EXPECT_EQ(Files().size(), files) << "found, not written again";
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped->matrix().data) % 64, 0U);
    EXPECT_EQ(store->PackLow(Source(values, 70, 45), form).value(), mapped);
    EXPECT_EQ(store->resident_count(), 1);
  });
  EXPECT_GE(Files().size(), 4U) << "a file a form at least";
}

TEST_F(WeightCacheTest, ADamagedFileOf8BitsIsPackedAnew) {
  const std::vector<float> values = Values(50 * 33, 6);
  WeightStore plain;
  const auto expected = plain.PackLow(Source(values, 50, 33), WeightForm::kInt8).value();
  (void)Store()->PackLow(Source(values, 50, 33), WeightForm::kInt8).value();
  const std::filesystem::path file = Files().at(0);
  for (const int64_t at : {int64_t{25}, int64_t{26}, int64_t{100}}) {
    FlipBits(file, at, 0x01);
    const auto again = Store()->PackLow(Source(values, 50, 33), WeightForm::kInt8).value();
    EXPECT_TRUE(SameLow(*again, *expected)) << at;
  }
}

TEST_F(WeightCacheTest, TheFolderStaysWithinItsLimitAndTheOldestGo) {
  const int64_t one = PackedMatrixBytes(64, 64, ActiveTarget());
  const auto store = Store(3 * one + 1024);
  for (uint32_t seed = 0; seed < 8; ++seed) {
    const std::vector<float> values = Values(64 * 64, seed);
    ASSERT_TRUE(store->Pack(Source(values, 64, 64)).ok());
    EXPECT_LE(Open()->bytes(), 3 * one + 1024);
  }
  EXPECT_EQ(Files().size(), 3U);
  // What is larger than all of it is packed and not kept.
  const std::vector<float> large = Values(256 * 256, 9);
  EXPECT_TRUE(store->Pack(Source(large, 256, 256)).ok());
  EXPECT_EQ(Files().size(), 3U);
}

TEST_F(WeightCacheTest, WritersAtTheSameTimeLeaveWholeFiles) {
  const std::vector<float> values = Values(128 * 96, 5);
  WeightStore plain;
  const auto expected = plain.Pack(Source(values, 128, 96)).value();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        if (!Same(*Store()->Pack(Source(values, 128, 96)).value(), *expected)) wrong.fetch_add(1);
        std::error_code ignored;
        for (const auto& file : Files()) std::filesystem::remove(file, ignored);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  (void)Store()->Pack(Source(values, 128, 96)).value();
  EXPECT_EQ(Files().size(), 1U) << "and nothing unfinished";
}

TEST_F(WeightCacheTest, AFolderThatOthersMayWriteIsRefused) {
  std::filesystem::create_directories(folder_);
  chmod(folder_.c_str(), 0777);
  const auto opened = WeightCache::Open({folder_, 1 << 20});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, base::Code::kPermissionDenied);
}

}  // namespace
}  // namespace sluice::kernels
