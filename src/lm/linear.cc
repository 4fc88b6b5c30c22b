#include "lm/linear.h"

#include <cstring>

#include "base/check.h"
#include "tensor/align.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace sluice::lm {
namespace {

using kernels::LowPath;
using kernels::MatrixSource;
using kernels::WeightForm;

// All parts in one memory, a row of it for each column.
MatrixSource Join(const std::vector<MatrixSource>& parts, std::vector<std::byte>& memory) {
  MatrixSource joined = parts[0];
  if (parts.size() == 1) return joined;
  const int64_t size = tensor::DTypeSize(joined.dtype);
  joined.n = 0;
  for (const MatrixSource& part : parts) {
    CHECK(part.k == joined.k && part.dtype == joined.dtype);
    joined.n += part.n;
  }
  memory.resize(static_cast<size_t>(joined.n * joined.k * size));
  std::byte* to = memory.data();
  for (const MatrixSource& part : parts) {
    CHECK(part.k_stride == 1);
    for (int64_t n = 0; n < part.n; ++n, to += joined.k * size) {
      std::memcpy(to, static_cast<const std::byte*>(part.data) + n * part.n_stride * size,
                  static_cast<size_t>(joined.k * size));
    }
  }
  joined.data = memory.data();
  joined.n_stride = joined.k;
  return joined;
}

}  // namespace

base::Result<Linear> Linear::Pack(const std::vector<MatrixSource>& parts, WeightForm form) {
  std::vector<std::byte> memory;
  const MatrixSource source = Join(parts, memory);
  Linear linear;
  linear.k_ = source.k;
  linear.n_ = source.n;
  auto& store = kernels::WeightStore::Process();
  if (form != WeightForm::kF32 && kernels::LowFormTakes(form, source.k, source.n)) {
    linear.low_ = TRY(store.PackLow(source, form));
  } else {
    linear.packed_ = TRY(store.Pack(source));
  }
  return linear;
}

int64_t Linear::weight_bytes() const {
  return (packed_ != nullptr ? packed_->bytes() : low_->bytes()) +
         static_cast<int64_t>(bias_.size() * sizeof(float));
}

std::optional<LowPath> Linear::path() const {
  if (low_ == nullptr || low_->matrix().path == LowPath::kWiden) return std::nullopt;
  return low_->matrix().path;
}

bool Linear::Prepares(LowPath next) const {
  return low_ != nullptr && kernels::LowGemmPrepares(low_->matrix(), next);
}

int64_t Linear::ScratchBytes(int64_t rows) const {
  if (!path().has_value()) return 0;
  return tensor::AlignUp(rows * kernels::LowRowBytes(k_, low_->matrix().path)) +
         2 * tensor::AlignUp(rows * static_cast<int64_t>(sizeof(float)));
}

bool Linear::Run(Runner& runner, const LinearRows& rows, std::byte* scratch) const {
  if (low_ != nullptr) return RunLow(runner, rows, scratch);
  kernels::GemmArgs args;
  args.m = rows.rows;
  args.a = rows.x;
  args.a_stride = rows.x_stride;
  args.b = packed_->matrix();
  args.bias = bias_.empty() ? nullptr : bias_.data();
  args.residual = rows.residual;
  args.residual_stride = rows.residual_stride;
  args.c = rows.y;
  args.c_stride = rows.y_stride;
  args.activation = rows.activation;
  return runner.Run(kernels::GemmTiles, kernels::Gemm, kernels::GemmWork(args), args);
}

bool Linear::RunLow(Runner& runner, const LinearRows& rows, std::byte* scratch) const {
  kernels::LowGemmArgs args;
  args.m = rows.rows;
  args.b = low_->matrix();
  args.bias = bias_.empty() ? nullptr : bias_.data();
  args.residual = rows.residual;
  args.residual_stride = rows.residual_stride;
  args.c = rows.y;
  args.c_stride = rows.y_stride;
  args.activation = rows.activation;
  args.out = rows.out;
  args.out_path = rows.out_path;
  if (rows.prepared.data != nullptr) {
    args.rows = rows.prepared;
  } else if (args.b.path == LowPath::kWiden) {
    args.a = rows.x;
    args.a_stride = rows.x_stride;
  } else {
    kernels::PrepareRowsArgs prepare;
    prepare.m = rows.rows;
    prepare.k = k_;
    prepare.a = rows.x;
    prepare.a_stride = rows.x_stride;
    prepare.path = args.b.path;
    prepare.target = args.b.target;
    prepare.rows.stride = kernels::LowRowBytes(k_, args.b.path);
    prepare.rows.data = scratch;
    scratch += tensor::AlignUp(rows.rows * prepare.rows.stride);
    prepare.rows.scales = reinterpret_cast<float*>(scratch);
    scratch += tensor::AlignUp(rows.rows * static_cast<int64_t>(sizeof(float)));
    prepare.rows.zeros = reinterpret_cast<float*>(scratch);
    if (!runner.Run(kernels::PrepareRowsTiles, kernels::PrepareRows,
                    kernels::PrepareRowsWork(prepare), prepare)) {
      return false;
    }
    args.rows = prepare.rows;
  }
  return runner.Run(kernels::LowGemmTiles, kernels::LowGemm, kernels::LowGemmWork(args), args,
                    kernels::LowPathSpeedup(args.b.path));
}

}  // namespace sluice::lm
