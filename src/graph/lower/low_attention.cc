#include "graph/lower/low_attention.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "graph/lower/low_linear.h"
#include "kernels/low_attention.h"

namespace sluice::graph {
namespace {

using kernels::LowAttentionArgs;
using kernels::LowPath;
using kernels::LowRows;
using tensor::Shape;

void RunLowAttention(const void* args, kernels::Tiles tiles) {
  kernels::LowAttention(*static_cast<const LowAttentionArgs*>(args), tiles);
}

bool IsReshape(const Node& node) {
  return node.Is("Reshape") || node.Is("Squeeze") || node.Is("Unsqueeze") || node.Is("Flatten") ||
         node.Is("Identity");
}

// A value and where it would lie.
struct Placed {
  const Value* value = nullptr;
  Place place;
};

// What a node makes of its first operand when it is a view that views.cc lowers without a copy;
// false for all else.
bool ViewsOf(const Lowering& lowering, const Node& node, const Place& from,
             std::vector<Placed>& made) {
  const Shape& shape = lowering.shape(node.input(0));
  if (IsReshape(node)) {
    const Shape& to = lowering.shape(node.output());
    if (to.elements() != shape.elements()) return false;
    const std::optional<Place> place = ReshapePlace(shape, from, to);
    if (place.has_value()) made.push_back({node.output(), *place});
    return place.has_value();
  }
  if (node.Is("Transpose")) {
    const std::span<const int64_t> perm = node.Ints("perm");
    Place to;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const int64_t source =
          perm.empty() ? shape.rank() - 1 - axis : perm[static_cast<size_t>(axis)];
      to.strides[axis] = from.strides[source];
    }
    made.push_back({node.output(), to});
    return true;
  }
  if (!node.Is("Split")) return false;
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += shape.rank();
  if (axis < 0 || axis >= shape.rank()) return false;
  int64_t extent = 0;
  for (const Value* output : node.outputs) {
    if (output == nullptr) return false;
    extent += lowering.shape(output)[static_cast<int>(axis)];
    made.push_back({output, from});
  }
  return extent == shape[static_cast<int>(axis)];
}

// The linear layer whose rows a value views, or null.
const Node* SourceOf(const Value* value) {
  const Node* node = value == nullptr ? nullptr : value->producer;
  while (node != nullptr && (IsReshape(*node) || node->Is("Transpose") || node->Is("Split")))
    node = node->input(0)->producer;
  return node != nullptr && node->Is("FusedLinear") ? node : nullptr;
}

// Linear layers and attentions that share operands, as far as they reach.
class Company {
 public:
  Company(const Lowering& lowering, const Node& linear) : lowering_(lowering) {
    fits_ = kernels::HasLowAttention();
    AddLinear(&linear);
  }
  bool fits() const { return fits_; }

 private:
  static constexpr int kStepsMax = 1024;  // of all walks together

  void AddLinear(const Node* node) {
    if (!fits_ || std::count(seen_.begin(), seen_.end(), node) > 0) return;
    seen_.push_back(node);
    const kernels::LowWeight* weight = node == nullptr ? nullptr : lowering_.low_weight(*node);
    fits_ = weight != nullptr && lowering_.Target(node->output()) == nullptr &&
            kernels::LowGemmPrepares(weight->matrix(), LowPath::kBF16Tiles);
    if (!fits_) return;
    const int64_t n = weight->matrix().n;
    const Shape& shape = lowering_.shape(node->output());
    Place rows;
    rows.strides[0] = kernels::LowRowBytes(n, LowPath::kBF16Tiles) / 2;
    rows.strides[1] = 1;
    const std::optional<Place> place = ReshapePlace(Shape({shape.elements() / n, n}), rows, shape);
    fits_ = place.has_value();
    if (fits_) Follow({node->output(), *place});
  }

  void Follow(const Placed& from) {
    fits_ = fits_ && ++steps_ <= kStepsMax && !lowering_.graph().IsOutput(from.value) &&
            !from.value->uses.empty();
    if (!fits_) return;
    const Shape& shape = lowering_.shape(from.value);
    for (const Use& use : from.value->uses) {
      if (use.node->Is("FusedAttention") && use.index <= 2) {
        const int row_axis = shape.rank() - (use.index == 1 ? 2 : 1);  // K comes transposed
        fits_ = fits_ && shape.rank() >= 2 && from.place.strides[row_axis] == 1;
        AddAttention(*use.node);
        continue;
      }
      std::vector<Placed> made;
      fits_ = fits_ && use.index == 0 && ViewsOf(lowering_, *use.node, from.place, made);
      for (const Placed& view : made) {
        if (fits_) Follow(view);
      }
    }
  }

  void AddAttention(const Node& node) {
    const Shape& q = lowering_.shape(node.input(0));
    const Shape& v = lowering_.shape(node.input(2));
    // Biases by content and distance are f32's alone.
    fits_ = fits_ && node.input(5) == nullptr && q.rank() >= 2 && q.rank() <= 4 &&
            kernels::LowAttentionTakes(q[q.rank() - 1], v[v.rank() - 1]);
    for (size_t i = 0; i < 3; ++i) AddLinear(SourceOf(node.input(i)));
  }

  const Lowering& lowering_;
  bool fits_ = true;
  int steps_ = 0;
  std::vector<const Node*> seen_;
};

// The value that reads an attention's output as packed rows of all heads, through views alone.
const Value* RowsOfHeads(const Lowering& lowering, const Value* output, int64_t width) {
  Placed at = {output, lowering.place(output)};
  while (at.value->uses.size() == 1 && !lowering.graph().IsOutput(at.value)) {
    std::vector<Placed> made;
    const Use& use = at.value->uses[0];
    if (use.node->Is("Split") || use.index != 0 || !ViewsOf(lowering, *use.node, at.place, made))
      break;
    at = made[0];
  }
  const Shape& shape = lowering.shape(at.value);
  return shape.rank() >= 1 && shape[shape.rank() - 1] == width && IsPacked(shape, at.place)
             ? at.value
             : nullptr;
}

// Half as far: what counts as f32 lies there as bf16.
Ref Halved(Ref ref) {
  return {ref.buffer, ref.offset / 2};
}

}  // namespace

bool LeavesBrainHeads(const Lowering& lowering, const Node& linear) {
  return Company(lowering, linear).fits();
}

bool TakesBrainHeads(const Lowering& lowering, const Node& attention) {
  const Node* const source = SourceOf(attention.input(0));
  return source != nullptr && LeavesBrainHeads(lowering, *source);
}

void AddLowAttention(Lowering& lowering, const Node& node, const LowHeads& heads) {
  LowAttentionArgs args;
  args.heads = heads.args;
  StepInfo info = heads.info;
  info.kind = "attention bf16";
  info.path = LowPath::kBF16Tiles;
  Ref out = heads.out;
  PreparedParts rows;
  const int64_t width = args.heads.heads * args.heads.value_dim;
  const Value* const whole = RowsOfHeads(lowering, node.output(), width);
  std::optional<LowPath> next;
  if (whole != nullptr) next = OnlyPreparedFor(lowering, whole);
  // Tiles differ where the result is prepared: any pointer but null says so.
  std::byte mark{};
  if (next.has_value()) {
    rows = NewPreparedRows(lowering, whole, *next);
    args.rows_path = *next;
    args.rows.stride = rows.stride;
    args.rows.data = &mark;
    if (kernels::TakesBrainRows(*next)) out = {};
    info.detail += ", result prepared";
  }
  constexpr double kSpeedup = 2.5;  // about, over attention in f32
  StepSpec spec{.run = RunLowAttention,
                .tiles = kernels::LowAttentionTiles(args),
                .work = heads.work,
                .speedup = kSpeedup,
                .info = std::move(info)};
  constexpr size_t kHeads = offsetof(LowAttentionArgs, heads);
  constexpr size_t kRows = offsetof(LowAttentionArgs, rows);
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(LowAttentionArgs, q), Halved(heads.q)},
       {offsetof(LowAttentionArgs, k), Halved(heads.k)},
       {offsetof(LowAttentionArgs, v), Halved(heads.v)},
       {kHeads + offsetof(kernels::AttentionArgs, mask), heads.mask},
       {kHeads + offsetof(kernels::AttentionArgs, sequence_starts), heads.starts},
       {kHeads + offsetof(kernels::AttentionArgs, out), out},
       {kRows + offsetof(LowRows, data), rows.data},
       {kRows + offsetof(LowRows, scales), rows.scales},
       {kRows + offsetof(LowRows, zeros), rows.zeros}});
}

}  // namespace sluice::graph
