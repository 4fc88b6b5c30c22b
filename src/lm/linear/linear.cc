#include "lm/linear/linear.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <variant>

#include "base/check.h"
#include "base/mmap.h"
#include "kernels/gated_rows.h"
#include "tensor/align.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace sluice::lm {
namespace {

using kernels::LowPath;
using kernels::MatrixParts;
using kernels::MatrixSource;
using kernels::WeightForm;

// Of block dots over f32's multiply-adds, for predicting their time.
constexpr double kBlockSpeedup = 4;

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

// Of weights that nothing reads any more: they were packed.
void Forget(const std::vector<StoredTensor>& parts) {
  for (const StoredTensor& part : parts) {
    if (!part.mapped) continue;
    base::ForgetMapped({part.buffer.data(), static_cast<size_t>(part.buffer.bytes())});
  }
}

}  // namespace

void Linear::Add(Part part) {
  part.column = n_;
  n_ += part.n;
  parts_.push_back(std::move(part));
}

base::Status Linear::AddPacked(MatrixParts parts, WeightForm form) {
  Part part;
  part.n = kernels::ColumnsOf(parts);
  auto& store = kernels::WeightStore::Process();
  if (form != WeightForm::kF32 && kernels::LowFormTakes(form, k_, part.n)) {
    part.low = TRY(store.PackLow(parts, form));
  } else {
    part.packed = TRY(store.Pack(parts));
  }
  Add(std::move(part));
  return base::Ok();
}

base::Status Linear::AddInt4(MatrixParts parts, const LinearForm& form) {
  Part part;
  part.n = kernels::ColumnsOf(parts);
  if (!kernels::Int4Takes(k_, part.n, form.group)) return AddPacked(parts, WeightForm::kInt8);
  part.block_bytes = kernels::Int4Bytes(k_, part.n, form.group, form.int4);
  part.memory = tensor::Buffer::AllocateLarge(part.block_bytes);
  part.blocks = TRY(kernels::PackInt4(parts, form.group, form.int4, part.memory.mutable_data()));
  Add(std::move(part));
  return base::Ok();
}

base::Status Linear::AddBlocks(const StoredTensor& stored) {
  if (stored.format == tensor::BlockFormat::kF32) {
    const MatrixSource source = TransposedSource(stored);
    return AddPacked({&source, 1}, WeightForm::kF32);
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

base::Result<Linear> Linear::Load(const std::vector<StoredTensor>& parts, const LinearForm& form) {
  Linear linear;
  linear.k_ = parts[0].shape[1];
  if (form.kind != LinearForm::Kind::kStored && ArePlain(parts)) {
    std::vector<MatrixSource> sources;
    for (const StoredTensor& part : parts) sources.push_back(TransposedSource(part));
    if (form.kind == LinearForm::Kind::kPacked) {
      TRY(linear.AddPacked(sources, form.packed));
    } else {
      TRY(linear.AddInt4(sources, form));
    }
    Forget(parts);
    return linear;
  }
  for (const StoredTensor& part : parts) {
    CHECK_EQ(part.shape[1], linear.k_);
    const bool plain = tensor::PlainDType(part.format).has_value();
    if (!plain || form.kind == LinearForm::Kind::kStored) {
      TRY(linear.AddBlocks(part));
      continue;
    }
    const MatrixSource source = TransposedSource(part);
    if (form.kind == LinearForm::Kind::kPacked) {
      TRY(linear.AddPacked({&source, 1}, form.packed));
    } else {
      TRY(linear.AddInt4({&source, 1}, form));
    }
    Forget({part});
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

// A product as its header describes it; `speedup` as Runner::Run's.
template <class Args>
struct Kernel {
  int64_t (*tiles)(const Args&);
  void (*run)(const Args&, kernels::Tiles);
  kernels::Work (*work)(const Args&);
  double speedup;
};

kernels::PackedMatrix& MatrixOf(kernels::GemmArgs& args) {
  return args.b;
}
kernels::LowMatrix& MatrixOf(kernels::LowGemmArgs& args) {
  return args.b;
}
kernels::BlockMatrix& MatrixOf(kernels::BlockGemmArgs& args) {
  return args.w;
}

// The product with one panel alone, into memory of its own.
constexpr int64_t kPanelMax = 32;
template <class Args>
struct PanelProduct {
  explicit PanelProduct(const Args& product) : whole(product) {}
  int64_t width() { return PanelColumns(MatrixOf(whole)); }

  // Panel `index` of the matrix.
  Args Of(int64_t index) {
    Args args = whole;
    const int64_t first = index * width();
    MatrixOf(args) = PanelOf(MatrixOf(whole), index);
    if (whole.bias != nullptr) {
      // The panel may go on behind the bias.
      const int64_t count = std::min(width(), MatrixOf(whole).n - first);
      std::copy(whole.bias + first, whole.bias + first + count, bias);
      std::fill(bias + count, bias + kPanelMax, 0.0f);
      args.bias = bias;
    }
    args.c = y;
    args.c_stride = kPanelMax;
    return args;
  }

  Args whole;
  float bias[kPanelMax];
  alignas(64) float y[Linear::kColumnRowsMax * kPanelMax];
};

}  // namespace

template <class F>
bool Linear::WithProduct(const Part& part, Runner& runner, const LinearRows& rows,
                         std::byte* scratch, bool& prepared, F run) const {
  if (part.packed != nullptr) {
    return run(PackedProduct(part, rows),
               Kernel<kernels::GemmArgs>{kernels::GemmTiles, kernels::Gemm, kernels::GemmWork, 1});
  }
  if (part.low != nullptr) {
    prepared = false;
    kernels::LowGemmArgs args;
    if (!LowProduct(part, runner, rows, scratch, args)) return false;
    const double speedup = kernels::LowPathSpeedup(args.b.path);
    return run(args, Kernel<kernels::LowGemmArgs>{kernels::LowGemmTiles, kernels::LowGemm,
                                                  kernels::LowGemmWork, speedup});
  }
  kernels::BlockGemmArgs args;
  if (!BlockProduct(part, runner, rows, scratch, prepared, args)) return false;
  const double speedup = kernels::TakesBlockRows(args.w) ? kBlockSpeedup : 1;
  return run(args, Kernel<kernels::BlockGemmArgs>{kernels::BlockGemmTiles, kernels::BlockGemm,
                                                  kernels::BlockGemmWork, speedup});
}

bool Linear::Run(Runner& runner, const LinearRows& rows, std::byte* scratch) const {
  bool prepared = false;  // rows for blocks, which serve all parts
  const auto run = [&](const auto& args, const auto& kernel) {
    return runner.Run(kernel.tiles, kernel.run, kernel.work(args), args, kernel.speedup);
  };
  for (const Part& part : parts_) {
    if (!WithProduct(part, runner, rows, scratch, prepared, run)) return false;
  }
  return true;
}

bool Linear::RunColumns(Runner& runner, const LinearRows& rows, const ColumnPlaces& columns,
                        std::byte* scratch) const {
  CHECK(rows.rows <= kColumnRowsMax && rows.residual == nullptr && rows.out.data == nullptr &&
        rows.activation == kernels::Activation::kNone);
  bool prepared = false;
  auto begin = columns.begin();
  for (const Part& part : parts_) {
    auto end = begin;
    while (end != columns.end() && end->column < part.column + part.n) ++end;
    if (end == begin) continue;
    const auto run = [&](const auto& args, const auto& kernel) {
      using Args = std::decay_t<decltype(args)>;
      // A tile is a column, with its panel where the column before is in another one.
      const auto multiply = [&](const Args& whole, kernels::Tiles range) {
        PanelProduct<Args> panel(whole);
        const int64_t width = panel.width();
        int64_t held = -1;
        for (auto one = begin + range.begin; one != begin + range.end; ++one) {
          const int64_t column = one->column - part.column;
          if (column / width != held) {
            held = column / width;
            const Args alone = panel.Of(held);
            kernel.run(alone, {0, kernel.tiles(alone)});
          }
          for (int64_t row = 0; row < rows.rows; ++row) {
            rows.y[row * rows.y_stride + one->place] = panel.y[row * kPanelMax + column % width];
          }
        }
      };
      kernels::Work work = kernel.work(PanelProduct<Args>(args).Of(0));
      work.flops *= end - begin;
      work.bytes *= end - begin;
      return runner.Run([&](const Args&) { return int64_t{end - begin}; }, multiply, work, args,
                        kernel.speedup);
    };
    if (!WithProduct(part, runner, rows, scratch, prepared, run)) return false;
    begin = end;
  }
  return true;
}

namespace {

// Rows [row, row + count) of a product.
kernels::GemmArgs RowsOf(kernels::GemmArgs args, int64_t row, int64_t count) {
  args.m = count;
  args.a += row * args.a_stride;
  return args;
}
kernels::LowGemmArgs RowsOf(kernels::LowGemmArgs args, int64_t row, int64_t count) {
  args.m = count;
  if (args.b.path == LowPath::kWiden) {
    args.a += row * args.a_stride;
  } else {
    args.rows = kernels::RowsFrom(args.rows, row);
  }
  return args;
}
kernels::BlockGemmArgs RowsOf(kernels::BlockGemmArgs args, int64_t row, int64_t count) {
  args.m = count;
  if (kernels::TakesBlockRows(args.w)) {
    args.rows = kernels::RowsFrom(args.rows, args.w.k, row);
  } else {
    args.a += row * args.a_stride;
  }
  return args;
}

// What RunGated makes at a time, in rows and columns of its result: both arms, 128 KiB, stay in L2,
// and so do the rows that they read. A tile has at most so many products, about 70 us of int4's.
// Best of 32 to 256 columns by 64 to 512 rows, with int8 in AMX and with int4, 896 deep
// (bench/decoder_bench.cc).
struct ArmsTile {
  int64_t row, rows, columns;
};
constexpr int64_t kArmColumns = 64;
constexpr int64_t kArmsStride = 2 * kArmColumns + 16;  // rows fall into different sets
constexpr int64_t kArmRows = 256;
constexpr int64_t kArmRowsMin = 32;
constexpr int64_t kArmProducts = int64_t{14} << 20;
// Arms of all rows below that, 2 MiB, are as fast in one piece (the same bench: at 54 rows of
// 9,728 columns).
constexpr int64_t kArmsAtOnce = int64_t{1} << 19;

// A rectangle of a product's result at a time.
template <class Args>
struct TileProduct {
  Args whole;
  Kernel<Args> kernel;

  // Columns are whole panels.
  void Run(const ArmsTile& tile, int64_t column, float* y, int64_t y_stride) const {
    Args args = RowsOf(whole, tile.row, tile.rows);
    auto& matrix = MatrixOf(args);
    matrix = PanelOf(matrix, column / PanelColumns(matrix));
    matrix.n = tile.columns;  // the panels behind it too
    if (args.bias != nullptr) args.bias += column;
    args.c = y;
    args.c_stride = y_stride;
    kernel.run(args, {0, kernel.tiles(args)});
  }
};

}  // namespace

bool Linear::RunGated(Runner& runner, const LinearRows& rows, kernels::Activation activation,
                      float* arms, std::byte* scratch) const {
  const int64_t half = n_ / 2;
  kernels::GatedRowsArgs gate;
  gate.rows = rows.rows;
  gate.columns = half;
  gate.x = arms;
  gate.x_stride = n_;
  gate.y = rows.y;
  gate.y_stride = rows.y_stride;
  gate.activation = activation;
  const int64_t fit = kArmProducts / (kArmColumns * k_) / kArmRowsMin * kArmRowsMin;
  const int64_t each = std::min(rows.rows, std::clamp(fit, kArmRowsMin, kArmRows));
  const bool one = parts_.size() == 1;
  const bool two = parts_.size() == 2 && parts_[1].column == half && parts_[0].block_bytes > 0 &&
                   parts_[1].block_bytes > 0;
  if (rows.rows * n_ < kArmsAtOnce || runner.lanes() * each * kArmsStride > rows.rows * n_ ||
      half % kArmColumns != 0 || !(one || two)) {
    LinearRows product = rows;
    product.y = arms;
    product.y_stride = n_;
    return Run(runner, product, scratch) && runner.Run(kernels::GatedRowsTiles, kernels::GatedRows,
                                                       kernels::GatedRowsWork(gate), gate);
  }
  using Product = std::variant<TileProduct<kernels::GemmArgs>, TileProduct<kernels::LowGemmArgs>,
                               TileProduct<kernels::BlockGemmArgs>>;
  std::optional<Product> products[2];
  double whole_ns = 0;
  bool prepared = false;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const auto keep = [&](const auto& args, const auto& kernel) {
      products[i].emplace(TileProduct<std::decay_t<decltype(args)>>{args, kernel});
      whole_ns += runner.Predict(kernel.work(args), kernel.speedup);
      return true;
    };
    if (!WithProduct(parts_[i], runner, rows, scratch, prepared, keep)) return false;
  }
  const int64_t row_tiles = (rows.rows + each - 1) / each;
  const auto run = [&](kernels::Tiles range, int lane) {
    float* const own = arms + lane * each * kArmsStride;
    for (int64_t i = range.begin; i < range.end; ++i) {
      ArmsTile tile = {i % row_tiles * each, each, kArmColumns};
      tile.rows = std::min(each, rows.rows - tile.row);
      const int64_t column = i / row_tiles * kArmColumns;
      const auto arm = [&](const Product& product, int64_t from, float* y) {
        std::visit([&](const auto& whole) { whole.Run(tile, from, y, kArmsStride); }, product);
      };
      arm(*products[0], column, own);
      arm(*products[one ? 0 : 1], one ? half + column : column, own + kArmColumns);
      kernels::GatedRowsArgs part = gate;
      part.rows = tile.rows;
      part.columns = kArmColumns;
      part.x = own;
      part.x_stride = kArmsStride;
      part.y = rows.y + tile.row * rows.y_stride + column;
      kernels::GatedRows(part, {0, kernels::GatedRowsTiles(part)});
    }
  };
  return runner.RunInLanes(half / kArmColumns * row_tiles, whole_ns, run);
}

kernels::GemmArgs Linear::PackedProduct(const Part& part, const LinearRows& rows) const {
  kernels::GemmArgs args;
  FillCommon(rows, part.column, bias_, args);
  args.a = rows.x;
  args.a_stride = rows.x_stride;
  args.b = part.packed->matrix();
  args.activation = rows.activation;
  return args;
}

bool Linear::LowProduct(const Part& part, Runner& runner, const LinearRows& rows,
                        std::byte* scratch, kernels::LowGemmArgs& args) const {
  FillCommon(rows, part.column, bias_, args);
  args.b = part.low->matrix();
  args.activation = rows.activation;
  args.out = rows.out;
  args.out_path = rows.out_path;
  if (rows.prepared.data != nullptr) {
    args.rows = rows.prepared;
    return true;
  }
  if (args.b.path == LowPath::kWiden) {
    args.a = rows.x;
    args.a_stride = rows.x_stride;
    return true;
  }
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
  args.rows = prepare.rows;
  return runner.Run(kernels::PrepareRowsTiles, kernels::PrepareRows,
                    kernels::PrepareRowsWork(prepare), prepare);
}

bool Linear::BlockProduct(const Part& part, Runner& runner, const LinearRows& rows,
                          std::byte* scratch, bool& prepared, kernels::BlockGemmArgs& args) const {
  CHECK(rows.activation == kernels::Activation::kNone && rows.x != nullptr);
  FillCommon(rows, part.column, bias_, args);
  args.w = part.blocks;
  if (!kernels::TakesBlockRows(part.blocks)) {
    args.a = rows.x;
    args.a_stride = rows.x_stride;
    return true;
  }
  args.rows = DivideScratch(scratch, rows.rows, k_).rows;
  if (std::exchange(prepared, true)) return true;
  kernels::PrepareBlockRowsArgs prepare;
  prepare.m = rows.rows;
  prepare.k = k_;
  prepare.a = rows.x;
  prepare.a_stride = rows.x_stride;
  prepare.rows = args.rows;
  return runner.Run(kernels::PrepareBlockRowsTiles, kernels::PrepareBlockRows,
                    kernels::PrepareBlockRowsWork(prepare), prepare);
}

}  // namespace sluice::lm
