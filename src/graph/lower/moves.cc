// Gathers by index and concatenations.
#include <algorithm>
#include <cstddef>

#include "graph/lower/images.h"
#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/gather_rows.h"
#include "kernels/transpose.h"

namespace sluice::graph {
namespace {

using kernels::CopyRowsArgs;
using kernels::GatherBytesArgs;
using kernels::GatherRowsArgs;
using tensor::DType;
using tensor::Shape;

// A gather and where it tells of bad indices.
template <class Args>
struct Checked {
  Args args;
  RunState* state = nullptr;
};

template <class Args>
int64_t Rows(const Args& args);
template <>
int64_t Rows(const GatherRowsArgs& args) {
  return args.table.rows;
}
template <>
int64_t Rows(const GatherBytesArgs& args) {
  return args.rows;
}

template <class Args>
void Report(const Checked<Args>& checked, int64_t position) {
  if (!checked.state->Claim()) return;
  const kernels::IndexView& indices = checked.args.indices;
  checked.state->position = position;
  checked.state->value = indices.wide ? static_cast<const int64_t*>(indices.data)[position]
                                      : static_cast<const int32_t*>(indices.data)[position];
  checked.state->extent = Rows(checked.args);
  checked.state->what = "index";
}

void RunGatherRows(const void* block, kernels::Tiles tiles) {
  const auto& checked = *static_cast<const Checked<GatherRowsArgs>*>(block);
  const int64_t bad = kernels::GatherRows(checked.args, tiles);
  if (bad != kernels::kAllInRange) Report(checked, bad);
}
void RunGatherBytes(const void* block, kernels::Tiles tiles) {
  const auto& checked = *static_cast<const Checked<GatherBytesArgs>*>(block);
  const int64_t bad = kernels::GatherBytes(checked.args, tiles);
  if (bad != kernels::kAllInRange) Report(checked, bad);
}

void LowerGatherF32(Lowering& lowering, const Node& node, int64_t columns) {
  const Shape& table = lowering.shape(node.input(0));
  Checked<GatherRowsArgs> block;
  GatherRowsArgs& args = block.args;
  args.table = {nullptr, DType::kF32, table[0], columns};
  args.indices.wide = node.input(1)->dtype == DType::kI64;
  args.count = lowering.shape(node.input(1)).elements();
  args.y_stride = columns;
  const Ref data = lowering.Packed(node.input(0));
  const Ref indices = lowering.Packed(node.input(1));
  Ref y;
  if (const Place* target = lowering.Target(node.output())) {
    // Straight into the concatenation that reads it.
    y = target->ref;
    args.y_stride = target->strides[0];
    lowering.AliasRows(node.output(), *target, columns);
  } else {
    y = lowering.Define(node.output());
  }
  using Block = Checked<GatherRowsArgs>;
  StepSpec spec{.run = RunGatherRows,
                .tiles = kernels::GatherRowsTiles(args),
                .work = kernels::GatherRowsWork(args),
                .checks_data = true,
                .info = lowering.Info(node, "gather")};
  lowering.builder().Add(std::move(spec), block,
                         {{offsetof(Block, args.table.data), data},
                          {offsetof(Block, args.indices.data), indices},
                          {offsetof(Block, args.y), y},
                          {offsetof(Block, state), {lowering.builder().state_buffer(), 0}}});
}

base::Result<bool> LowerGather(Lowering& lowering, const Node& node) {
  if (TRY(LowerGatherAsView(lowering, node))) return true;
  const Shape& table = lowering.shape(node.input(0));
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += table.rank();
  // Positions that shapes alone decide are checked now: a text longer than the table of positions
  // has no plan.
  for (const int64_t index : lowering.KnownInts(node.input(1))) {
    const int64_t extent = axis >= 0 && axis < table.rank() ? table[static_cast<int>(axis)] : 0;
    if (index >= -extent && index < extent) continue;
    return base::InvalidArgument("node '" + node.name + "': position " + std::to_string(index) +
                                 " is outside of a table of " + std::to_string(extent) + " rows");
  }
  const bool outermost = axis == 0 || (axis > 0 && axis < table.rank() &&
                                       table.elements(0, static_cast<int>(axis)) == 1);
  if (!outermost || lowering.shape(node.output()).elements() == 0) return false;
  if (table[static_cast<int>(axis)] == 0) return false;
  const int64_t columns = table.elements(static_cast<int>(axis) + 1, table.rank());
  if (node.input(0)->dtype == DType::kF32 && axis == 0) {
    LowerGatherF32(lowering, node, columns);
    return true;
  }
  Checked<GatherBytesArgs> block;
  GatherBytesArgs& args = block.args;
  args.rows = table[static_cast<int>(axis)];
  args.row_bytes = columns * tensor::DTypeSize(node.input(0)->dtype);
  args.indices.wide = node.input(1)->dtype == DType::kI64;
  args.count = lowering.shape(node.input(1)).elements();
  const Ref data = lowering.Packed(node.input(0));
  const Ref indices = lowering.Packed(node.input(1));
  const Ref y = lowering.Define(node.output());
  using Block = Checked<GatherBytesArgs>;
  StepSpec spec{.run = RunGatherBytes,
                .tiles = kernels::GatherBytesTiles(args),
                .work = kernels::GatherBytesWork(args),
                .checks_data = true,
                .info = lowering.Info(node, "gather")};
  lowering.builder().Add(std::move(spec), block,
                         {{offsetof(Block, args.table), data},
                          {offsetof(Block, args.indices.data), indices},
                          {offsetof(Block, args.y), y},
                          {offsetof(Block, state), {lowering.builder().state_buffer(), 0}}});
  return true;
}

void RunCopyRows(const void* args, kernels::Tiles tiles) {
  kernels::CopyRows(*static_cast<const CopyRowsArgs*>(args), tiles);
}

void AddConcatPiece(Lowering& lowering, const Node& node, const CopyRowsArgs& args, Ref from,
                    Ref to) {
  StepSpec spec{.run = RunCopyRows,
                .tiles = kernels::CopyRowsTiles(args),
                .work = kernels::CopyRowsWork(args),
                .info = lowering.Info(node, "concat")};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(CopyRowsArgs, x), from}, {offsetof(CopyRowsArgs, y), to}});
}

// Images side by side in their channels, where one of them lies with its channels last.
bool ConcatChannels(Lowering& lowering, const Node& node) {
  const Shape& output = lowering.shape(node.output());
  if (output.rank() < 3 || output.rank() > 4 || node.output()->dtype != tensor::DType::kF32)
    return false;
  const bool some = std::any_of(node.inputs.begin(), node.inputs.end(), [&](const Value* value) {
    return !lowering.packed(value) && PixelStride(lowering.shape(value), lowering.place(value)) > 0;
  });
  if (!some || output.elements() == 0 || output.elements(2, output.rank()) == 1) return false;
  const int64_t pixels = output.elements() / output[1];
  Ref to = DefineChannelsLast(lowering, node.output()).ref;
  for (const Value* value : node.inputs) {
    const int64_t channels = lowering.shape(value)[1];
    if (channels == 0) continue;
    const Pixels from = ChannelsLast(lowering, value);
    CopyRowsArgs args;
    args.rows = pixels;
    args.bytes = channels * 4;
    args.x_stride = from.pixel * 4;
    args.y_stride = output[1] * 4;
    AddConcatPiece(lowering, node, args, from.ref, to);
    to.offset += channels * 4;
  }
  return true;
}

base::Result<bool> LowerConcat(Lowering& lowering, const Node& node) {
  const Shape& output = lowering.shape(node.output());
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += output.rank();
  if (axis < 0 || axis >= output.rank()) return false;
  if (axis == 1 && ConcatChannels(lowering, node)) return true;
  const int64_t rows = output.elements(0, static_cast<int>(axis));
  const int64_t width = output.elements(static_cast<int>(axis), output.rank());
  const int64_t size = tensor::DTypeSize(node.output()->dtype);
  const Place out = lowering.DefineConcat(node.output(), width);
  int64_t at = 0;
  for (const Value* value : node.inputs) {
    const int64_t columns = lowering.shape(value).elements(static_cast<int>(axis), output.rank());
    const Ref to{out.ref.buffer, out.ref.offset + at * size};
    at += columns;
    if (columns == 0 || rows == 0) continue;
    const Shape flat({rows, columns});
    Place from = lowering.ReshapedPlace(value, flat);
    if (from.ref.buffer == to.buffer && from.ref.offset == to.offset &&
        (rows == 1 || from.strides[0] == out.strides[0]))
      continue;
    if (columns != 1 && from.strides[1] != 1) {
      from.ref = lowering.Packed(value);
      SetPackedStrides(flat, from);
    }
    CopyRowsArgs args;
    args.rows = rows;
    args.bytes = columns * size;
    args.x_stride = from.strides[0] * size;
    args.y_stride = out.strides[0] * size;
    AddConcatPiece(lowering, node, args, from.ref, to);
  }
  return true;
}

}  // namespace

std::span<const LoweringRule> MoveRules() {
  static constexpr LoweringRule kRules[] = {{"Gather", ~0u, LowerGather},
                                            {"Concat", ~0u, LowerConcat}};
  return kRules;
}

}  // namespace sluice::graph
