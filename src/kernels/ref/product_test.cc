// Reference products against hand-written values and against each other.
#include "kernels/ref/product.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace sluice::kernels::ref {
namespace {

using tensor::DTypeOf;
using tensor::Shape;

template <class T>
ConstView In(const std::vector<T>& data, const Shape& shape) {
  return {DTypeOf<T>, shape, data.data()};
}
template <class T>
View Out(std::vector<T>& data, const Shape& shape) {
  data.assign(static_cast<size_t>(shape.elements()), T(99));
  return {DTypeOf<T>, shape, data.data()};
}
std::vector<float> Ramp(int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 17) - 8;
  return v;
}

TEST(RefMatMul, BroadcastsLeadingAxesOfBothSides) {
  const auto a = Ramp(2 * 1 * 3 * 4), b = Ramp(5 * 4 * 300);
  std::vector<float> y;
  MatMul({In(a, {2, 1, 3, 4}), In(b, {5, 4, 300}), Out(y, {2, 5, 3, 300})});
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t n = i % 300, m = i / 300 % 3, q = i / 900 % 5, p = i / 4500;
    float want = 0;
    for (size_t k = 0; k < 4; ++k) want += a[(p * 3 + m) * 4 + k] * b[(q * 4 + k) * 300 + n];
    ASSERT_EQ(y[i], want) << i;
  }
}

TEST(RefMatMul, VectorsAreRowsAndColumns) {
  const std::vector<int32_t> a = {1, 2}, b = {3, 4, 5, 6};
  std::vector<int32_t> y;
  MatMul({In(a, {2}), In(b, {2, 2}), Out(y, {2})});
  EXPECT_EQ(y, (std::vector<int32_t>{13, 16}));
  MatMul({In(b, {2, 2}), In(a, {2}), Out(y, {2})});
  EXPECT_EQ(y, (std::vector<int32_t>{11, 17}));
  MatMul({In(a, {2}), In(a, {2}), Out(y, {})});
  EXPECT_EQ(y, (std::vector<int32_t>{5}));
}

TEST(RefMatMul, AnEmptyInnerAxisGivesZeros) {
  const std::vector<float> none;
  std::vector<float> y;
  MatMul({In(none, {2, 0}), In(none, {0, 2}), Out(y, {2, 2})});
  EXPECT_EQ(y, (std::vector<float>(4, 0)));
}

TEST(RefMatMulInteger, SubtractsZeroPointsPerRowAndColumn) {
  const std::vector<uint8_t> a = {11, 7, 3, 10, 6, 2}, a_zero = {12};
  const std::vector<uint8_t> b = {1, 4, 2, 5, 3, 6}, b_zero = {0, 1};
  std::vector<int32_t> y;
  MatMulInteger({In(a, {2, 3}), In(b, {3, 2}), In(a_zero, {}), In(b_zero, {2}), Out(y, {2, 2})});
  EXPECT_EQ(y, (std::vector<int32_t>{-1 - 10 - 27, -3 - 20 - 45, -2 - 12 - 30, -6 - 24 - 50}));
}

TEST(RefGemm, TransposesScalesAndAdds) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {1, 0, 0, 1, 1, 1}, c = {10, 20};
  std::vector<float> y;
  GemmArgs args{In(a, {3, 2}), In(b, {2, 3}), In(c, {2}), Out(y, {2, 2}), 2, 0.5, true, true};
  Gemm(args);
  EXPECT_EQ(y, (std::vector<float>{2 * 1 + 5, 2 * 9 + 10, 2 * 2 + 5, 2 * 12 + 10}));
}

TEST(RefEinsum, SumsDiagonalsAndBroadcastLabels) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {10, 100}, one = {7};
  std::vector<float> y;
  const ConstView trace[] = {In(a, {2, 2})};
  EinsumArgs args{trace, {{0, 0}}, {}, Out(y, {})};
  Einsum(args);  // ii->
  EXPECT_EQ(y[0], 5);
  const ConstView both[] = {In(a, {2, 2}), In(b, {2})};
  Einsum({both, {{0, 1}, {1}}, {0}, Out(y, {2})});  // ij,j->i
  EXPECT_EQ(y, (std::vector<float>{210, 430}));
  const ConstView wide[] = {In(a, {2, 2}), In(one, {1})};
  Einsum({wide, {{0, 1}, {1}}, {1, 0}, Out(y, {2, 2})});  // ij,j->ji
  EXPECT_EQ(y, (std::vector<float>{7, 21, 14, 28}));
}

}  // namespace
}  // namespace sluice::kernels::ref
