#include "graph/constant_store.h"

#include <gtest/gtest.h>

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

std::shared_ptr<const Tensor> Filled(const Shape& shape, int64_t seed) {
  Tensor tensor = Tensor::Allocate(DType::kF32, shape, 1 << 24).value();
  int64_t i = seed;
  for (float& x : tensor.mutable_view().span<float>()) x = static_cast<float>(i++ % 1009);
  return std::make_shared<const Tensor>(std::move(tensor));
}

TEST(ConstantStore, EqualConstantsAreHeldOnceAsLongAsOneIsUsed) {
  ConstantStore store;
  auto first = store.Share(Filled(Shape({300, 100}), 1));
  const auto second = store.Share(Filled(Shape({300, 100}), 1));
  EXPECT_EQ(first, second);
  EXPECT_EQ(store.resident_bytes(), 120'000);
  const Tensor* const at = first.get();
  first = nullptr;
  EXPECT_EQ(store.Share(Filled(Shape({300, 100}), 1)).get(), at);
}

TEST(ConstantStore, OtherElementsShapesAndSmallOnesStayApart) {
  ConstantStore store;
  const auto first = store.Share(Filled(Shape({300, 100}), 1));
  EXPECT_NE(store.Share(Filled(Shape({300, 100}), 2)), first);
  EXPECT_NE(store.Share(Filled(Shape({100, 300}), 1)), first);
  auto last = Filled(Shape({300, 100}), 1);
  const_cast<Tensor&>(*last).mutable_view().span<float>()[29'999] += 1;
  EXPECT_EQ(store.Share(last), last);
  const auto small = store.Share(Filled(Shape({10}), 1));
  EXPECT_NE(store.Share(Filled(Shape({10}), 1)), small);
}

TEST(ConstantStore, ForgetsWhatNobodyUses) {
  ConstantStore store;
  (void)store.Share(Filled(Shape({300, 100}), 1));
  EXPECT_EQ(store.resident_bytes(), 0);
}

}  // namespace
}  // namespace sluice::graph
