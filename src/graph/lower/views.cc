// Ops whose output is the input's memory seen differently: no step at all.
#include <algorithm>
#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/lower/strided_copy.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

using tensor::Shape;

base::Result<bool> LowerReshape(Lowering& lowering, const Node& node) {
  const Value* output = node.output();
  if (lowering.shape(output).elements() != lowering.shape(node.input(0)).elements()) {
    return base::InvalidArgument("node '" + node.name +
                                 "': " + lowering.shape(node.input(0)).ToString() +
                                 " cannot be reshaped to " + lowering.shape(output).ToString());
  }
  lowering.Alias(output, lowering.ReshapedPlace(node.input(0), lowering.shape(output)));
  return true;
}

base::Result<bool> LowerDropout(Lowering& lowering, const Node& node) {
  if (node.output(1) != nullptr && lowering.reader_count(node.output(1)) > 0) return false;
  if (const Value* training = node.input(2)) {
    const tensor::Tensor* known = lowering.known(training);
    if (known == nullptr || *known->view().as<bool>()) return false;
  }
  lowering.Alias(node.output(), lowering.place(node.input(0)));
  return true;
}

base::Result<bool> LowerCast(Lowering& lowering, const Node& node) {
  if (node.input(0)->dtype != node.output()->dtype) return false;
  lowering.Alias(node.output(), lowering.place(node.input(0)));
  return true;
}

base::Result<bool> LowerTranspose(Lowering& lowering, const Node& node) {
  const Place& from = lowering.place(node.input(0));
  const int rank = lowering.shape(node.input(0)).rank();
  const std::span<const int64_t> perm = node.Ints("perm");
  Place to;
  to.ref = from.ref;
  for (int axis = 0; axis < rank; ++axis) {
    const int64_t source = perm.empty() ? rank - 1 - axis : perm[static_cast<size_t>(axis)];
    to.strides[axis] = from.strides[source];
  }
  lowering.Alias(node.output(), to);
  return true;
}

base::Result<bool> LowerExpand(Lowering& lowering, const Node& node) {
  const Shape& from = lowering.shape(node.input(0));
  const Shape& to = lowering.shape(node.output());
  const Place& source = lowering.place(node.input(0));
  Place place;
  place.ref = source.ref;
  for (int axis = 0; axis < from.rank(); ++axis) {
    const int target = to.rank() - from.rank() + axis;
    if (from[axis] != 1 && from[axis] != to[target]) return false;
    place.strides[target] = from[axis] == 1 ? 0 : source.strides[axis];
  }
  lowering.Alias(node.output(), place);
  return true;
}

// Repeating an axis of one element is looking at it again and again. Of several, a copy out of a
// view that has an axis more: the repetitions, which lie 0 apart.
base::Result<bool> LowerTile(Lowering& lowering, const Node& node) {
  const Shape& from = lowering.shape(node.input(0));
  const Shape& to = lowering.shape(node.output());
  if (from.rank() != to.rank()) return false;
  if (TRY(LowerExpand(lowering, node))) return true;
  Shape apart;
  Place view;
  view.ref = lowering.place(node.input(0)).ref;
  for (int axis = 0; axis < to.rank(); ++axis) {
    if (from[axis] == 0 || apart.rank() + 2 > tensor::kMaxRank) return false;
    const bool repeated = to[axis] != from[axis];
    if (repeated) apart.Append(to[axis] / from[axis]);
    view.strides[apart.rank()] = lowering.place(node.input(0)).strides[axis];
    apart.Append(from[axis]);
  }
  if (apart.elements() != to.elements()) return false;
  const int64_t element_bytes = tensor::DTypeSize(node.output()->dtype);
  const StridedCopyArgs args = MakeStridedCopy(apart, view, element_bytes);
  const Ref out = lowering.Define(node.output());
  StepSpec spec{.run = StridedCopy,
                .tiles = to.elements() == 0 ? 0 : StridedCopyTiles(args),
                .work = StridedCopyWork(args),
                .info = lowering.Info(node, "copy")};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(StridedCopyArgs, src), view.ref}, {offsetof(StridedCopyArgs, dst), out}});
  return true;
}

// Element offset of `start` along an axis, in bytes.
void Shift(Place& place, int axis, int64_t start, tensor::DType dtype) {
  place.ref.offset += start * place.strides[axis] * tensor::DTypeSize(dtype);
}

// starts, axes and steps from inputs or, before opset 10, attributes. False when they are not
// known.
bool SliceOperands(Lowering& lowering, const Node& node, std::vector<int64_t>& starts,
                   std::vector<int64_t>& axes, std::vector<int64_t>& steps) {
  const Value* operands[] = {node.input(1), node.input(3), node.input(4)};
  std::vector<int64_t>* lists[] = {&starts, &axes, &steps};
  if (node.inputs.size() == 1) {
    starts.assign(node.Ints("starts").begin(), node.Ints("starts").end());
    axes.assign(node.Ints("axes").begin(), node.Ints("axes").end());
  }
  for (int i = 0; i < 3; ++i) {
    if (operands[i] == nullptr) continue;
    if (lowering.known(operands[i]) == nullptr) return false;
    *lists[i] = lowering.KnownInts(operands[i]);
  }
  if (axes.empty()) {
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  return axes.size() == starts.size() && steps.size() == starts.size();
}

base::Result<bool> LowerSlice(Lowering& lowering, const Node& node) {
  std::vector<int64_t> starts, axes, steps;
  if (!SliceOperands(lowering, node, starts, axes, steps)) return false;
  const Shape& from = lowering.shape(node.input(0));
  const Shape& to = lowering.shape(node.output());
  Place place = lowering.place(node.input(0));
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t wanted = axes[i] < 0 ? axes[i] + from.rank() : axes[i];
    if (wanted < 0 || wanted >= from.rank() || steps[i] <= 0) return false;
    const int axis = static_cast<int>(wanted);
    int64_t start = starts[i] < 0 ? starts[i] + from[axis] : starts[i];
    start = std::clamp<int64_t>(start, 0, from[axis]);
    // Inference has computed the extent from the same operands; the view must stay inside whatever
    // it says.
    if (to[axis] > 0 && start + (to[axis] - 1) * steps[i] >= from[axis]) return false;
    Shift(place, axis, start, node.input(0)->dtype);
    place.strides[axis] *= steps[i];
  }
  lowering.Alias(node.output(), place);
  return true;
}

base::Result<bool> LowerSplit(Lowering& lowering, const Node& node) {
  const Shape& from = lowering.shape(node.input(0));
  int64_t wanted = node.Int("axis", 0);
  if (wanted < 0) wanted += from.rank();
  if (wanted < 0 || wanted >= from.rank()) return false;
  const int axis = static_cast<int>(wanted);
  int64_t start = 0;
  for (const Value* output : node.outputs) {
    if (output == nullptr) return false;  // its extent is not known
    start += lowering.shape(output)[axis];
  }
  if (start != from[axis]) return false;
  start = 0;
  for (const Value* output : node.outputs) {
    Place place = lowering.place(node.input(0));
    Shift(place, axis, start, output->dtype);
    start += lowering.shape(output)[axis];
    lowering.Alias(output, place);
  }
  return true;
}

}  // namespace

base::Result<bool> LowerGatherAsView(Lowering& lowering, const Node& node) {
  const Value* indices = node.input(1);
  if (lowering.known(indices) == nullptr || lowering.shape(indices).elements() != 1) return false;
  const Shape& from = lowering.shape(node.input(0));
  int64_t wanted = node.Int("axis", 0);
  if (wanted < 0) wanted += from.rank();
  if (wanted < 0 || wanted >= from.rank()) return false;
  const int axis = static_cast<int>(wanted);
  int64_t index = lowering.KnownInts(indices)[0];
  if (index < 0) index += from[axis];
  if (index < 0 || index >= from[axis]) return false;
  Place place = lowering.place(node.input(0));
  Shift(place, axis, index, node.input(0)->dtype);
  // The axis goes, and the axes of the index, all of extent 1, take its place.
  Place out;
  out.ref = place.ref;
  const int added = lowering.shape(indices).rank();
  for (int i = 0; i < from.rank(); ++i) {
    if (i < axis) out.strides[i] = place.strides[i];
    if (i > axis) out.strides[i - 1 + added] = place.strides[i];
  }
  lowering.Alias(node.output(), out);
  return true;
}

std::span<const LoweringRule> ViewRules() {
  static constexpr LoweringRule kRules[] = {
      {"Reshape", 1, LowerReshape},     {"Flatten", 1, LowerReshape},
      {"Squeeze", 1, LowerReshape},     {"Unsqueeze", 1, LowerReshape},
      {"Identity", 1, LowerReshape},    {"Dropout", 1, LowerDropout},
      {"Cast", 1, LowerCast},           {"CastLike", 1, LowerCast},
      {"Transpose", 1, LowerTranspose}, {"Expand", 1, LowerExpand},
      {"Tile", ~0u, LowerTile},         {"Slice", 1, LowerSlice},
      {"Split", 1, LowerSplit},
  };
  return kRules;
}

}  // namespace sluice::graph
