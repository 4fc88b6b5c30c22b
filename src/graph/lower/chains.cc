// Fused elementwise chains: broadcasting turned into strides over at most three axes.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>

#include "graph/chain_code.h"
#include "graph/lower/images.h"
#include "graph/lower/lowering_rules.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

using kernels::ChainArgs;
using tensor::Shape;

void RunChainStep(const void* args, kernels::Tiles tiles) {
  kernels::RunChain(*static_cast<const ChainArgs*>(args), tiles);
}

// Axes of the output, merged where every operand lets them, innermost first. The strides of the
// inputs, and behind them those of the output where it is told where to lie.
struct Axis {
  int64_t extent = 1;
  int64_t strides[kernels::kChainInputs + 1] = {};
};

// Stride of an input along an output axis: 0 where it is broadcast.
int64_t StrideAlong(const Shape& shape, const Place& place, const Shape& output, int axis) {
  const int own = axis - (output.rank() - shape.rank());
  return own < 0 || shape[own] == 1 ? 0 : place.strides[own];
}

std::vector<Axis> MergeAxes(const Shape& output, std::span<const Shape> shapes,
                            std::span<const Place> places) {
  std::vector<Axis> axes;
  for (int axis = output.rank() - 1; axis >= 0; --axis) {
    if (output[axis] == 1) continue;
    Axis next;
    next.extent = output[axis];
    for (size_t i = 0; i < shapes.size(); ++i)
      next.strides[i] = StrideAlong(shapes[i], places[i], output, axis);
    bool merges = !axes.empty();
    for (size_t i = 0; merges && i < shapes.size(); ++i) {
      merges = next.strides[i] == axes.back().strides[i] * axes.back().extent;
    }
    if (merges) {
      axes.back().extent *= next.extent;
    } else {
      axes.push_back(next);
    }
  }
  return axes;
}

// Whether three axes and a column stride of 0 or 1 do.
bool Fits(const std::vector<Axis>& axes, size_t inputs) {
  if (axes.size() > 3) return false;
  for (size_t i = 0; i < inputs && !axes.empty(); ++i) {
    if (axes[0].strides[i] != 0 && axes[0].strides[i] != 1) return false;
  }
  return true;
}

// The axes of a chain that writes into a concatenation; nothing where they do not fit. An output
// whose elements lie apart has rows of one column.
std::optional<std::vector<Axis>> AxesInto(const Place& target, const Shape& output,
                                          std::vector<Shape> shapes, std::vector<Place> places) {
  const size_t inputs = shapes.size();
  shapes.push_back(output);
  places.push_back(target);
  std::vector<Axis> axes = MergeAxes(output, shapes, places);
  if (!axes.empty() && axes[0].strides[inputs] != 1) {
    Axis column;
    for (size_t i = 0; i < inputs; ++i) column.strides[i] = axes[0].strides[i] == 1 ? 1 : 0;
    axes.insert(axes.begin(), column);
  }
  if (!Fits(axes, inputs)) return std::nullopt;
  return axes;
}

// Where the axes of an image go when its channels become the last: [N, spatial…, C].
int Turned(int axis, int rank) {
  if (axis == 0) return 0;
  return axis == 1 ? rank - 1 : axis - 1;
}

// What the chain runs over. Images turn their axes, and operands with fewer axes get those in front
// that they lack.
struct Operands {
  Shape output;
  std::vector<Shape> shapes;
  std::vector<Place> places;
  std::vector<Axis> axes;
};

Operands AsTheyLie(Lowering& lowering, const Node& node) {
  Operands operands;
  operands.output = lowering.shape(node.output());
  for (const Value* value : node.inputs) {
    operands.shapes.push_back(lowering.shape(value));
    operands.places.push_back(lowering.place(value));
  }
  operands.axes = MergeAxes(operands.output, operands.shapes, operands.places);
  return operands;
}

// The operands with channels last where one of them lies so; nothing where that does not help.
std::optional<Operands> AsImages(Lowering& lowering, const Node& node) {
  const Shape& output = lowering.shape(node.output());
  const int rank = output.rank();
  const auto full = [&](const Value* value) {
    return value->dtype == tensor::DType::kF32 && lowering.shape(value) == output;
  };
  const bool some = std::any_of(node.inputs.begin(), node.inputs.end(), [&](const Value* value) {
    return full(value) && !lowering.packed(value) && PixelStride(output, lowering.place(value)) > 0;
  });
  if (rank < 3 || rank > 4 || !some) return std::nullopt;
  Operands operands;
  operands.output = output;
  for (int axis = 0; axis < rank; ++axis) operands.output.set_dim(Turned(axis, rank), output[axis]);
  for (const Value* value : node.inputs) {
    if (full(value)) ChannelsLast(lowering, value);
    const Shape& shape = lowering.shape(value);
    const Place& place = lowering.place(value);
    Shape turned = operands.output;
    Place at;
    at.ref = place.ref;
    for (int axis = 0; axis < rank; ++axis) {
      const int own = axis - (rank - shape.rank());
      turned.set_dim(Turned(axis, rank), own < 0 ? 1 : shape[own]);
      at.strides[Turned(axis, rank)] = own < 0 ? 0 : place.strides[own];
    }
    operands.shapes.push_back(turned);
    operands.places.push_back(at);
  }
  operands.axes = MergeAxes(operands.output, operands.shapes, operands.places);
  if (!Fits(operands.axes, node.inputs.size())) return std::nullopt;
  return operands;
}

base::Result<bool> LowerChain(Lowering& lowering, const Node& node) {
  const size_t count = node.inputs.size();
  std::optional<Operands> images = AsImages(lowering, node);
  const bool over_images = images.has_value();
  Operands operands = over_images ? std::move(*images) : AsTheyLie(lowering, node);
  const Shape& output = operands.output;
  std::vector<Shape>& shapes = operands.shapes;
  std::vector<Place>& places = operands.places;
  std::vector<Axis>& axes = operands.axes;
  // Strided operands are packed one after the other until the axes fit; packed ones with odd
  // broadcasts are expanded.
  for (size_t i = 0; i < count && !Fits(axes, count); ++i) {
    if (IsPacked(shapes[i], places[i])) continue;
    places[i].ref = lowering.Packed(node.inputs[i]);
    SetPackedStrides(shapes[i], places[i]);
    axes = MergeAxes(output, shapes, places);
  }
  for (size_t i = 0; i < count && !Fits(axes, count); ++i) {
    if (shapes[i] == output) continue;
    places[i] = lowering.Expanded(node.inputs[i], output);
    shapes[i] = output;
    axes = MergeAxes(output, shapes, places);
  }
  CHECK(Fits(axes, count)) << node.name;
  const Place* const target = over_images ? nullptr : lowering.Target(node.output());
  std::optional<std::vector<Axis>> into;
  if (target != nullptr && output.elements() > 0) into = AxesInto(*target, output, shapes, places);
  if (into.has_value()) axes = *into;
  axes.resize(3);
  auto chain = std::make_shared<kernels::Chain>(kernels::CompileChain(MakeChainProgram(node)));
  ChainArgs args;
  args.chain = chain.get();
  args.columns = axes[0].extent;
  args.rows = axes[1].extent;
  args.outer = axes[2].extent;
  if (into.has_value()) {
    args.output_row = axes[1].strides[count];
    args.output_outer = axes[2].strides[count];
  }
  std::vector<PointerField> pointers;
  for (size_t i = 0; i < count; ++i) {
    args.inputs[i].column = axes[0].strides[i];
    args.inputs[i].row = axes[1].strides[i];
    args.inputs[i].outer = axes[2].strides[i];
    pointers.push_back({offsetof(ChainArgs, inputs) + i * sizeof(kernels::ChainInput) +
                            offsetof(kernels::ChainInput, data),
                        places[i].ref});
  }
  if (into.has_value()) lowering.Alias(node.output(), *target);
  const Ref out = over_images        ? DefineChannelsLast(lowering, node.output()).ref
                  : into.has_value() ? target->ref
                                     : lowering.Define(node.output());
  pointers.push_back({offsetof(ChainArgs, outputs), out});
  lowering.Keep(std::move(chain));
  StepInfo info = lowering.Info(node, "elementwise");
  info.detail += " of " + std::to_string(node.Ints("steps").size() / 7) + " ops";
  StepSpec spec{.run = RunChainStep,
                .tiles = output.elements() == 0 ? 0 : kernels::ChainTiles(args),
                .work = kernels::ChainWork(args),
                .info = std::move(info)};
  lowering.builder().AddBlock(std::move(spec), std::as_bytes(std::span(&args, 1)), pointers);
  for (size_t i = 0; i < count && !into.has_value(); ++i) {
    const bool same = node.inputs[i]->dtype == node.output()->dtype && shapes[i] == output &&
                      IsPacked(shapes[i], places[i]) && places[i].ref.offset == 0;
    // Read through another view as well, its elements would change under that view.
    const auto same_buffer = [&](const Place& place) {
      return place.ref.buffer == places[i].ref.buffer;
    };
    if (same && std::count_if(places.begin(), places.end(), same_buffer) == 1) {
      lowering.builder().AllowInPlace({out.buffer, places[i].ref.buffer});
      break;
    }
  }
  return true;
}

}  // namespace

std::span<const LoweringRule> ChainRules() {
  static constexpr LoweringRule kRules[] = {{"FusedChain", ~0u, LowerChain}};
  return kRules;
}

}  // namespace sluice::graph
