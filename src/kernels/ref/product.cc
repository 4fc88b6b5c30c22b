// Products: rows of y are accumulated kLanes columns at a time.
#include "kernels/ref/product.h"

#include <algorithm>

#include "kernels/ref/lanes.h"
#include "kernels/ref/walk.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

// A matrix within a tensor: element (i, j) is at offset + i * row + j * column.
struct Matrix {
  const ConstView* view;
  int64_t offset = 0;
  int64_t row = 0;
  int64_t column = 0;
};

// Zero points of one product: each pointer is null, or one element (step 0) or one per row / column
// (step 1).
struct ZeroPoints {
  const ConstView* a = nullptr;
  int64_t a_first = 0;
  int64_t a_step = 0;
  const ConstView* b = nullptr;
  int64_t b_first = 0;
  int64_t b_step = 0;
};

// store(i, j, n, sums) for each run of columns of a @ b, a [m, k], b [k, n].
template <class W, class Store>
void MultiplyRows(const Matrix& a, const Matrix& b, int64_t m, int64_t k, int64_t n,
                  const ZeroPoints& zero, Store&& store) {
  W sums[kLanes];
  W row[kLanes];
  W zeros[kLanes] = {};
  for (int64_t i = 0; i < m; ++i) {
    const W a_zero = zero.a != nullptr
                         ? LoadOne<W>(zero.a->dtype, zero.a->data, zero.a_first + i * zero.a_step)
                         : W(0);
    for (int64_t j = 0; j < n; j += kLanes) {
      const int64_t width = std::min(n - j, kLanes);
      if (zero.b != nullptr) {
        LoadLanes(zero.b->dtype, zero.b->data, zero.b_first + j * zero.b_step, zero.b_step, width,
                  zeros);
      }
      std::fill(sums, sums + width, W(0));
      for (int64_t p = 0; p < k; ++p) {
        const W left =
            LoadOne<W>(a.view->dtype, a.view->data, a.offset + i * a.row + p * a.column) - a_zero;
        LoadLanes(b.view->dtype, b.view->data, b.offset + p * b.row + j * b.column, b.column, width,
                  row);
        for (int64_t c = 0; c < width; ++c)
          sums[c] = WrapAdd(sums[c], WrapMul(left, row[c] - zeros[c]));
      }
      store(i, j, width, sums);
    }
  }
}

// The matmul view of two shapes: leading axes broadcast, m, k, n.
struct MatMulPlan {
  int64_t m = 1, k = 1, n = 1;
  int64_t batches = 1;
  Walk<2> leading;  // in matrices of a and b
};

MatMulPlan PlanMatMul(const Shape& a, const Shape& b) {
  CHECK(a.rank() >= 1 && b.rank() >= 1);
  MatMulPlan plan;
  plan.m = a.rank() > 1 ? a[a.rank() - 2] : 1;
  plan.k = a[a.rank() - 1];
  plan.n = b.rank() > 1 ? b[b.rank() - 1] : 1;
  CHECK_EQ(plan.k, b[b.rank() > 1 ? b.rank() - 2 : 0]);
  const int a_lead = a.rank() > 2 ? a.rank() - 2 : 0;
  const int b_lead = b.rank() > 2 ? b.rank() - 2 : 0;
  const Shape a_shape(a.dims().first(static_cast<size_t>(a_lead)));
  const Shape b_shape(b.dims().first(static_cast<size_t>(b_lead)));
  Shape all = a_lead >= b_lead ? a_shape : b_shape;
  const Shape& other = a_lead >= b_lead ? b_shape : a_shape;
  for (int i = 1; i <= other.rank(); ++i) {
    if (all[all.rank() - i] == 1) all.set_dim(all.rank() - i, other[other.rank() - i]);
  }
  int64_t sa[kMaxRank], sb[kMaxRank];
  BroadcastStrides(a_shape, all, sa);
  BroadcastStrides(b_shape, all, sb);
  for (int i = 0; i < all.rank(); ++i) plan.leading.Append(all[i], {sa[i], sb[i]});
  plan.batches = all.elements();
  return plan;
}

}  // namespace

void MatMul(const MatMulArgs& args) {
  const MatMulPlan plan = PlanMatMul(args.a.shape, args.b.shape);
  CHECK_EQ(args.y.shape.elements(), plan.batches * plan.m * plan.n);
  WithWide(args.a.dtype, [&](auto tag) {
    using W = decltype(tag);
    int64_t batch = 0;
    plan.leading.Each([&](const int64_t(&at)[2]) {
      const Matrix a{&args.a, at[0] * plan.m * plan.k, plan.k, 1};
      const Matrix b{&args.b, at[1] * plan.k * plan.n, plan.n, 1};
      MultiplyRows<W>(
          a, b, plan.m, plan.k, plan.n, {}, [&](int64_t i, int64_t j, int64_t n, const W* sums) {
            StoreLanes(args.y.dtype, args.y.data, (batch * plan.m + i) * plan.n + j, 1, n, sums);
          });
      ++batch;
    });
  });
}

void MatMulInteger(const MatMulIntegerArgs& args) {
  const MatMulPlan plan = PlanMatMul(args.a.shape, args.b.shape);
  CHECK_EQ(args.y.shape.elements(), plan.batches * plan.m * plan.n);
  ZeroPoints zero;
  const int64_t a_zeros = args.a_zero.data != nullptr ? args.a_zero.shape.elements() : 0;
  const int64_t b_zeros = args.b_zero.data != nullptr ? args.b_zero.shape.elements() : 0;
  if (a_zeros > 0) zero.a = &args.a_zero, zero.a_step = a_zeros > 1 ? 1 : 0;
  if (b_zeros > 0) zero.b = &args.b_zero, zero.b_step = b_zeros > 1 ? 1 : 0;
  int64_t batch = 0;
  plan.leading.Each([&](const int64_t(&at)[2]) {
    const Matrix a{&args.a, at[0] * plan.m * plan.k, plan.k, 1};
    const Matrix b{&args.b, at[1] * plan.k * plan.n, plan.n, 1};
    // [m] repeats for every matrix; [..., m, 1] has its own.
    zero.a_first = a_zeros > plan.m ? at[0] * plan.m : 0;
    zero.b_first = b_zeros > plan.n ? at[1] * plan.n : 0;
    MultiplyRows<int64_t>(a, b, plan.m, plan.k, plan.n, zero,
                          [&](int64_t i, int64_t j, int64_t n, const int64_t* sums) {
                            StoreLanes(args.y.dtype, args.y.data, (batch * plan.m + i) * plan.n + j,
                                       1, n, sums);
                          });
    ++batch;
  });
}

void Gemm(const GemmArgs& args) {
  const int64_t m = args.y.shape[0];
  const int64_t n = args.y.shape[1];
  const int64_t k = args.a.shape[args.transpose_a ? 0 : 1];
  CHECK_EQ(args.a.shape.elements(), m * k);
  CHECK_EQ(args.b.shape.elements(), k * n);
  const Matrix a{&args.a, 0, args.transpose_a ? 1 : k, args.transpose_a ? m : 1};
  const Matrix b{&args.b, 0, args.transpose_b ? 1 : n, args.transpose_b ? k : 1};
  int64_t c_strides[kMaxRank] = {};
  if (args.c.data != nullptr) BroadcastStrides(args.c.shape, args.y.shape, c_strides);
  WithWide(args.a.dtype, [&](auto tag) {
    using W = decltype(tag);
    const W alpha = static_cast<W>(args.alpha);
    const W beta = static_cast<W>(args.beta);
    MultiplyRows<W>(a, b, m, k, n, {}, [&](int64_t i, int64_t j, int64_t width, W* sums) {
      W bias[kLanes] = {};
      if (args.c.data != nullptr) {
        LoadLanes(args.c.dtype, args.c.data, i * c_strides[0] + j * c_strides[1], c_strides[1],
                  width, bias);
      }
      for (int64_t x = 0; x < width; ++x)
        sums[x] = WrapAdd(WrapMul(alpha, sums[x]), WrapMul(beta, bias[x]));
      StoreLanes(args.y.dtype, args.y.data, i * n + j, 1, width, sums);
    });
  });
}

namespace {

// A set of labels with their extents and every input's stride along them, walked like an odometer.
struct LabelSpace {
  int count = 0;
  int64_t extent[kEinsumLabels];
  int64_t stride[kEinsumLabels][kEinsumInputs];

  template <class F>
  void Each(int inputs, F&& f) const {
    int64_t index[kEinsumLabels] = {};
    int64_t at[kEinsumInputs] = {};
    for (int i = 0; i < count; ++i) {
      if (extent[i] == 0) return;
    }
    while (true) {
      f(at);
      int d = count - 1;
      for (; d >= 0; --d) {
        for (int k = 0; k < inputs; ++k) at[k] += stride[d][k];
        if (++index[d] < extent[d]) break;
        for (int k = 0; k < inputs; ++k) at[k] -= stride[d][k] * extent[d];
        index[d] = 0;
      }
      if (d < 0) return;
    }
  }
};

}  // namespace

void Einsum(const EinsumArgs& args) {
  const int inputs = static_cast<int>(args.inputs.size());
  CHECK(inputs >= 1 && inputs <= kEinsumInputs);
  int64_t extent[kEinsumLabels];
  std::fill(extent, extent + kEinsumLabels, -1);
  int64_t stride[kEinsumLabels][kEinsumInputs] = {};
  for (int i = 0; i < inputs; ++i) {
    const Shape& shape = args.inputs[static_cast<size_t>(i)].shape;
    int64_t dense[kMaxRank];
    DenseStrides(shape, dense);
    for (int d = 0; d < shape.rank(); ++d) {
      const int label = args.labels[i][d];
      CHECK(label >= 0 && label < kEinsumLabels);
      if (shape[d] != 1) {
        CHECK(extent[label] <= 1 || extent[label] == shape[d] || extent[label] == -1);
        extent[label] = shape[d];
        stride[label][i] += dense[d];
      } else if (extent[label] == -1) {
        extent[label] = 1;
      }
    }
  }
  LabelSpace kept;
  LabelSpace summed;
  bool in_out[kEinsumLabels] = {};
  const auto append = [&](LabelSpace& space, int label) {
    space.extent[space.count] = extent[label];
    std::copy(stride[label], stride[label] + kEinsumInputs, space.stride[space.count]);
    ++space.count;
  };
  for (int d = 0; d < args.y.shape.rank(); ++d) {
    CHECK_EQ(args.y.shape[d], extent[args.out[d]]);
    in_out[args.out[d]] = true;
    append(kept, args.out[d]);
  }
  for (int label = 0; label < kEinsumLabels; ++label) {
    if (extent[label] >= 0 && !in_out[label]) append(summed, label);
  }
  WithWide(args.y.dtype, [&](auto tag) {
    using W = decltype(tag);
    int64_t written = 0;
    kept.Each(inputs, [&](const int64_t(&base)[kEinsumInputs]) {
      W sum = 0;
      summed.Each(inputs, [&](const int64_t(&at)[kEinsumInputs]) {
        W product = 1;
        for (int i = 0; i < inputs; ++i) {
          const ConstView& x = args.inputs[static_cast<size_t>(i)];
          product = WrapMul(product, LoadOne<W>(x.dtype, x.data, base[i] + at[i]));
        }
        sum = WrapAdd(sum, product);
      });
      StoreOne(args.y.dtype, args.y.data, written++, sum);
    });
  });
}

}  // namespace sluice::kernels::ref
