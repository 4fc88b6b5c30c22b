#include "lm/linear/linear.h"

#include <algorithm>
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

// Of block dots over f32's multiply-adds, for predicting their time.
constexpr double kBlockSpeedup = 4;

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

// Whether all are F32, F16 or BF16, and alike.
bool ArePlain(const std::vector<StoredTensor>& parts) {
  return std::all_of(parts.begin(), parts.end(), [&](const StoredTensor& part) {
    return tensor::PlainDType(part.format).has_value() && part.format == parts[0].format;
  });
}

// The prepared rows of blocks within a run's scratch.
struct BlockScratch {
  kernels::BlockRows rows;
  int64_t bytes = 0;
};
BlockScratch DivideScratch(std::byte* scratch, int64_t rows, int64_t k) {
  BlockScratch out;
  const auto take = [&](int64_t bytes) {
    std::byte* const at = scratch == nullptr ? nullptr : scratch + out.bytes;
    out.bytes += tensor::AlignUp(bytes);
    return at;
  };
  const int64_t words = rows * (k / 32) * 4;
  out.rows.code_stride = kernels::BlockCodeStride(k);
  out.rows.codes = reinterpret_cast<int8_t*>(take(rows * out.rows.code_stride));
  out.rows.scales = reinterpret_cast<float*>(take(words));
  out.rows.sums = reinterpret_cast<int32_t*>(take(words));
  out.rows.half_sums = reinterpret_cast<int32_t*>(take(2 * words));
  out.rows.code_sums = reinterpret_cast<float*>(take(words));
  return out;
}

}  // namespace

void Linear::Add(Part part) {
  part.column = n_;
  n_ += part.n;
  parts_.push_back(std::move(part));
}

base::Status Linear::AddPacked(const MatrixSource& source, WeightForm form) {
  Part part;
  part.n = source.n;
  auto& store = kernels::WeightStore::Process();
  if (form != WeightForm::kF32 && kernels::LowFormTakes(form, source.k, source.n)) {
    part.low = TRY(store.PackLow(source, form));
  } else {
    part.packed = TRY(store.Pack(source));
  }
  Add(std::move(part));
  return base::Ok();
}

base::Status Linear::AddInt4(const MatrixSource& source, const LinearForm& form) {
  if (!kernels::Int4Takes(source.k, source.n, form.group)) {
    return AddPacked(source, WeightForm::kInt8);
  }
  Part part;
  part.n = source.n;
  part.block_bytes = kernels::Int4Bytes(source.k, source.n, form.group, form.int4);
  part.memory = tensor::Buffer::AllocateLarge(part.block_bytes);
  part.blocks = TRY(kernels::PackInt4(source, form.group, form.int4, part.memory.mutable_data()));
  Add(std::move(part));
  return base::Ok();
}

base::Status Linear::AddBlocks(const StoredTensor& stored) {
  if (stored.format == tensor::BlockFormat::kF32) {
    return AddPacked(TransposedSource(stored), WeightForm::kF32);
  }
  Part part;
  part.n = stored.shape[0];
  part.memory = stored.buffer;
  part.blocks = TRY(
      kernels::BlockMatrixOf(part.memory.data(), stored.format, stored.shape[0], stored.shape[1]));
  part.block_bytes = part.blocks.row_bytes * part.n;
  Add(std::move(part));
  return base::Ok();
}

base::Result<Linear> Linear::Pack(const std::vector<MatrixSource>& parts, WeightForm form) {
  std::vector<std::byte> memory;
  const MatrixSource source = Join(parts, memory);
  Linear linear;
  linear.k_ = source.k;
  TRY(linear.AddPacked(source, form));
  return linear;
}

base::Result<Linear> Linear::Load(const std::vector<StoredTensor>& parts, const LinearForm& form) {
  Linear linear;
  linear.k_ = parts[0].shape[1];
  if (form.kind != LinearForm::Kind::kStored && ArePlain(parts)) {
    std::vector<MatrixSource> sources;
    for (const StoredTensor& part : parts) sources.push_back(TransposedSource(part));
    if (form.kind == LinearForm::Kind::kPacked) return Pack(sources, form.packed);
    std::vector<std::byte> memory;
    TRY(linear.AddInt4(Join(sources, memory), form));
    return linear;
  }
  for (const StoredTensor& part : parts) {
    CHECK_EQ(part.shape[1], linear.k_);
    const bool plain = tensor::PlainDType(part.format).has_value();
    if (!plain || form.kind == LinearForm::Kind::kStored) {
      TRY(linear.AddBlocks(part));
    } else if (form.kind == LinearForm::Kind::kPacked) {
      TRY(linear.AddPacked(TransposedSource(part), form.packed));
    } else {
      TRY(linear.AddInt4(TransposedSource(part), form));
    }
  }
  return linear;
}

int64_t Linear::weight_bytes() const {
  auto bytes = static_cast<int64_t>(bias_.size() * sizeof(float));
  for (const Part& part : parts_) {
    bytes += part.packed != nullptr ? part.packed->bytes()
             : part.low != nullptr  ? part.low->bytes()
                                    : part.block_bytes;
  }
  return bytes;
}

std::optional<LowPath> Linear::path() const {
  if (parts_.size() != 1 || parts_[0].low == nullptr) return std::nullopt;
  const LowPath path = parts_[0].low->matrix().path;
  return path == LowPath::kWiden ? std::nullopt : std::optional(path);
}

bool Linear::Prepares(LowPath next) const {
  return parts_.size() == 1 && parts_[0].low != nullptr &&
         kernels::LowGemmPrepares(parts_[0].low->matrix(), next);
}

int64_t Linear::ScratchBytes(int64_t rows) const {
  int64_t bytes = 0;
  for (const Part& part : parts_) {
    if (part.packed != nullptr) continue;
    if (part.low == nullptr) {
      if (kernels::TakesBlockRows(part.blocks)) {
        bytes = std::max(bytes, DivideScratch(nullptr, rows, k_).bytes);
      }
    } else if (part.low->matrix().path != LowPath::kWiden) {
      bytes = std::max(bytes,
                       tensor::AlignUp(rows * kernels::LowRowBytes(k_, part.low->matrix().path)) +
                           2 * tensor::AlignUp(rows * static_cast<int64_t>(sizeof(float))));
    }
  }
  return bytes;
}

bool Linear::Run(Runner& runner, const LinearRows& rows, std::byte* scratch) const {
  bool prepared = false;  // rows for blocks, which serve all parts
  for (const Part& part : parts_) {
    bool done = false;
    if (part.packed != nullptr) {
      done = RunPacked(part, runner, rows);
    } else if (part.low != nullptr) {
      done = RunLow(part, runner, rows, scratch);
      prepared = false;
    } else {
      done = RunBlocks(part, prepared, runner, rows, scratch);
      prepared = prepared || kernels::TakesBlockRows(part.blocks);
    }
    if (!done) return false;
  }
  return true;
}

namespace {

// What all three products take alike.
template <class Args>
void FillCommon(const LinearRows& rows, int64_t column, const std::vector<float>& bias,
                Args& args) {
  args.m = rows.rows;
  args.bias = bias.empty() ? nullptr : bias.data() + column;
  args.residual = rows.residual == nullptr ? nullptr : rows.residual + column;
  args.residual_stride = rows.residual_stride;
  args.c = rows.y + column;
  args.c_stride = rows.y_stride;
}

}  // namespace

bool Linear::RunPacked(const Part& part, Runner& runner, const LinearRows& rows) const {
  kernels::GemmArgs args;
  FillCommon(rows, part.column, bias_, args);
  args.a = rows.x;
  args.a_stride = rows.x_stride;
  args.b = part.packed->matrix();
  args.activation = rows.activation;
  return runner.Run(kernels::GemmTiles, kernels::Gemm, kernels::GemmWork(args), args);
}

bool Linear::RunLow(const Part& part, Runner& runner, const LinearRows& rows,
                    std::byte* scratch) const {
  kernels::LowGemmArgs args;
  FillCommon(rows, part.column, bias_, args);
  args.b = part.low->matrix();
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

bool Linear::RunBlocks(const Part& part, bool prepared, Runner& runner, const LinearRows& rows,
                       std::byte* scratch) const {
  CHECK(rows.activation == kernels::Activation::kNone && rows.x != nullptr);
  kernels::BlockGemmArgs args;
  FillCommon(rows, part.column, bias_, args);
  args.w = part.blocks;
  if (!kernels::TakesBlockRows(part.blocks)) {
    args.a = rows.x;
    args.a_stride = rows.x_stride;
    return runner.Run(kernels::BlockGemmTiles, kernels::BlockGemm, kernels::BlockGemmWork(args),
                      args);
  }
  args.rows = DivideScratch(scratch, rows.rows, k_).rows;
  if (!prepared) {
    kernels::PrepareBlockRowsArgs prepare;
    prepare.m = rows.rows;
    prepare.k = k_;
    prepare.a = rows.x;
    prepare.a_stride = rows.x_stride;
    prepare.rows = args.rows;
    if (!runner.Run(kernels::PrepareBlockRowsTiles, kernels::PrepareBlockRows,
                    kernels::PrepareBlockRowsWork(prepare), prepare)) {
      return false;
    }
  }
  return runner.Run(kernels::BlockGemmTiles, kernels::BlockGemm, kernels::BlockGemmWork(args), args,
                    kBlockSpeedup);
}

}  // namespace sluice::lm
