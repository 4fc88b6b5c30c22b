#include "graph/lower/lowering.h"

#include <algorithm>
#include <cstring>

#include "graph/interpreter.h"
#include "graph/lower/reference_step.h"
#include "graph/lower/strided_copy.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

// What shapes alone decide is computed while planning up to this size; larger results become steps.
constexpr int64_t kKnownBytesMax = 4 << 20;
// Of one value: far beyond any memory, and low enough that sums over a graph stay within 64 bits.
constexpr int64_t kValueBytesMax = int64_t{1} << 42;

int64_t ReadInt(const tensor::Tensor& tensor, int64_t i) {
  switch (tensor.dtype) {
    case tensor::DType::kI64:
      return tensor.view().as<int64_t>()[i];
    case tensor::DType::kI32:
      return tensor.view().as<int32_t>()[i];
    default:
      return 0;
  }
}

}  // namespace

Lowering::Lowering(const Graph& graph, const PackedWeights& weights, const LowWeights& low_weights,
                   Plan& plan, MachineRates rates)
    : graph_(graph),
      weights_(weights),
      low_weights_(low_weights),
      plan_(plan),
      builder_(plan, rates),
      shapes_(graph.value_id_limit()),
      known_(graph.value_id_limit(), nullptr),
      places_(graph.value_id_limit()),
      packed_(graph.value_id_limit()) {}

base::Status Lowering::Run() {
  TRY(ReadShapes());
  PlaceInterface();
  MarkNeeded();
  FindTargets();
  for (Node* node = graph_.first(); node != nullptr; node = node->next) {
    if (!needed_[static_cast<size_t>(node->id)]) continue;
    if (TryEvaluate(*node)) continue;
    TRY(LowerNode(*node));
  }
  DeliverOutputs();
  builder_.Finish();
  for (std::unique_ptr<tensor::Tensor>& tensor : made_)
    plan_.constants.push_back(std::move(*tensor));
  return base::Ok();
}

base::Status Lowering::ReadShapes() {
  int32_t node_limit = 0;
  const auto read = [&](const Value* value) -> base::Status {
    if (value == nullptr) return base::Ok();
    if (value->dtype == tensor::DType::kBytes)
      return base::Unimplemented("'" + value->name + "' holds strings");
    if (!value->shape.has_value()) {
      return base::Unimplemented("the rank of '" + value->name + "' depends on data");
    }
    std::vector<int64_t> dims;
    for (const Dim& dim : *value->shape) {
      if (!dim.is_constant()) {
        return base::Unimplemented("the shape of '" + value->name + "' depends on data");
      }
      dims.push_back(dim.constant());
    }
    const tensor::Shape shape = TRY(tensor::Shape::FromDims(dims));
    const int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(value->dtype)));
    if (bytes > kValueBytesMax) {
      return base::InvalidArgument("'" + value->name + "' of shape " + shape.ToString() +
                                   " would take " + std::to_string(bytes) +
                                   " bytes, above the limit of " + std::to_string(kValueBytesMax));
    }
    shapes_[Index(value)] = shape;
    if (value->is_constant()) {
      known_[Index(value)] = value->constant.get();
      Place place;
      place.ref = {builder_.Constant(value->constant->buffer.data()), 0};
      SetPackedStrides(shape, place);
      places_[Index(value)] = place;
    }
    return base::Ok();
  };
  for (const Value* value : graph_.inputs()) TRY(read(value));
  for (const GraphOutput& output : graph_.outputs()) TRY(read(output.value));
  for (Node* node = graph_.first(); node != nullptr; node = node->next) {
    node_limit = std::max(node_limit, node->id + 1);
    for (const Value* value : node->inputs) TRY(read(value));
    for (const Value* value : node->outputs) TRY(read(value));
  }
  needed_.assign(static_cast<size_t>(node_limit), false);
  return base::Ok();
}

void Lowering::PlaceInterface() {
  uint32_t index = 0;
  for (const Value* value : graph_.inputs()) {
    const int64_t bytes = shape(value).elements() * tensor::DTypeSize(value->dtype);
    plan_.input_shapes.push_back(shape(value));
    Place place;
    place.ref = {builder_.Interface(index++, bytes), 0};
    SetPackedStrides(shape(value), place);
    Alias(value, place);
  }
  for (const GraphOutput& output : graph_.outputs())
    plan_.output_shapes.push_back(shape(output.value));
}

void Lowering::KnowElements(const Value* value) {
  if (known(value) != nullptr || !value->elements.has_value()) return;
  if (value->dtype != tensor::DType::kI64 && value->dtype != tensor::DType::kI32) return;
  const std::vector<Dim>& elements = *value->elements;
  if (static_cast<int64_t>(elements.size()) != shape(value).elements()) return;
  for (const Dim& dim : elements) {
    if (!dim.is_constant()) return;
  }
  auto tensor = std::make_unique<tensor::Tensor>();
  tensor->dtype = value->dtype;
  tensor->shape = shape(value);
  tensor->buffer =
      tensor::Buffer::Allocate(shape(value).elements() * tensor::DTypeSize(value->dtype));
  for (size_t i = 0; i < elements.size(); ++i) {
    if (value->dtype == tensor::DType::kI64) {
      tensor->mutable_view().as<int64_t>()[i] = elements[i].constant();
    } else {
      tensor->mutable_view().as<int32_t>()[i] = static_cast<int32_t>(elements[i].constant());
    }
  }
  Place place;
  place.ref = {builder_.Constant(tensor->buffer.data()), 0};
  SetPackedStrides(shape(value), place);
  Alias(value, place);
  known_[Index(value)] = tensor.get();
  made_.push_back(std::move(tensor));
}

void Lowering::MarkValue(const Value* value, std::vector<const Node*>& work) {
  if (value == nullptr || value->producer == nullptr) return;
  KnowElements(value);
  if (known(value) != nullptr) return;
  const size_t id = static_cast<size_t>(value->producer->id);
  if (needed_[id]) return;
  needed_[id] = true;
  work.push_back(value->producer);
}

void Lowering::MarkNeeded() {
  std::vector<const Node*> work;
  for (const GraphOutput& output : graph_.outputs()) MarkValue(output.value, work);
  while (!work.empty()) {
    const Node* node = work.back();
    work.pop_back();
    const LoweringRule* rule = FindLoweringRule(*node);
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      const bool read = rule == nullptr || i >= 32 || (rule->data_inputs >> i & 1u) != 0;
      if (read) MarkValue(node->inputs[i], work);
      // A shape operand is not run, but a rule may ask for its known elements.
      if (!read && node->inputs[i] != nullptr) KnowElements(node->inputs[i]);
    }
  }
}

bool Lowering::TryEvaluate(const Node& node) {
  std::vector<tensor::Tensor> inputs;
  int64_t bytes = 0;
  for (const Value* value : node.inputs) {
    if (value != nullptr && known(value) == nullptr) return false;
    inputs.push_back(value == nullptr ? tensor::Tensor() : *known(value));
  }
  for (const Value* value : node.outputs) {
    if (value != nullptr) bytes += shape(value).elements() * tensor::DTypeSize(value->dtype);
  }
  if (bytes > kKnownBytesMax || !node.subgraphs.empty() || node.op->run == nullptr) return false;
  if ((node.op->traits & kNotDeterministic) != 0) return false;
  base::Result<std::vector<tensor::Tensor>> outputs =
      RunNode(node, inputs, {.bytes_max = 4 * kKnownBytesMax, .work_max = int64_t{1} << 20});
  if (!outputs.ok()) return false;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const Value* value = node.outputs[i];
    if (value == nullptr) continue;
    if (!(outputs.value()[i].shape == shape(value)) || outputs.value()[i].dtype != value->dtype)
      return false;
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const Value* value = node.outputs[i];
    if (value == nullptr) continue;
    made_.push_back(std::make_unique<tensor::Tensor>(std::move(outputs.value()[i])));
    known_[Index(value)] = made_.back().get();
    Place place;
    place.ref = {builder_.Constant(made_.back()->buffer.data()), 0};
    SetPackedStrides(shape(value), place);
    Alias(value, place);
  }
  return true;
}

base::Status Lowering::LowerNode(const Node& node) {
  // Without elements there is nothing to compute, and strides mean nothing.
  const auto empty = [&](const Value* value) {
    return value == nullptr || shape(value).elements() == 0;
  };
  if (std::all_of(node.outputs.begin(), node.outputs.end(), empty)) {
    for (const Value* value : node.outputs) {
      if (value != nullptr) Define(value);
    }
    return base::Ok();
  }
  const LoweringRule* rule = FindLoweringRule(node);
  if (rule != nullptr && TRY(rule->lower(*this, node))) return base::Ok();
  if (node.op->run == nullptr || !node.subgraphs.empty()) {
    return base::Unimplemented(std::string(node.op_name()) +
                               " has no kernel for these types and shapes");
  }
  LowerReference(node);
  return base::Ok();
}

void Lowering::LowerReference(const Node& node) {
  std::vector<ReferenceOperand> inputs;
  std::vector<ReferenceOperand> outputs;
  kernels::Work work;
  for (const Value* value : node.inputs) {
    if (value == nullptr) {
      inputs.push_back({});
      continue;
    }
    if (known(value) == nullptr && value->producer != nullptr &&
        !needed_[static_cast<size_t>(value->producer->id)]) {
      // A shape operand that nothing computes: the rule declined, and the reference kernel takes
      // the shape from the plan.
      inputs.push_back({});
      continue;
    }
    inputs.push_back({{value->dtype, shape(value), nullptr}, Packed(value)});
    work.bytes += inputs.back().view.bytes();
  }
  for (const Value* value : node.outputs) {
    if (value == nullptr) {
      outputs.push_back({});
      continue;
    }
    outputs.push_back({{value->dtype, shape(value), nullptr}, Define(value)});
    work.bytes += outputs.back().view.bytes();
    work.flops += shape(value).elements();
  }
  AddReferenceStep(builder_, node, inputs, outputs, work,
                   Info(node, "reference " + std::string(node.op_name())));
}

void Lowering::DeliverOutputs() {
  const uint32_t input_count = static_cast<uint32_t>(graph_.inputs().size());
  uint32_t index = input_count;
  for (const GraphOutput& output : graph_.outputs()) {
    const Value* value = output.value;
    const int64_t bytes = shape(value).elements() * tensor::DTypeSize(value->dtype);
    const Place& from = place(value);
    if (packed(value) && from.ref.offset == 0 && builder_.IsArena(from.ref.buffer) &&
        builder_.bytes(from.ref.buffer) == bytes && bytes > 0) {
      builder_.Rebase(from.ref.buffer, index++);
      continue;
    }
    const StridedCopyArgs args =
        MakeStridedCopy(shape(value), from, tensor::DTypeSize(value->dtype));
    const Ref to{builder_.Interface(index++, bytes), 0};
    StepSpec spec{.run = StridedCopy,
                  .tiles = bytes == 0 ? 0 : StridedCopyTiles(args),
                  .work = StridedCopyWork(args),
                  .info = {"copy", output.name, shape(value).ToString(), {}}};
    builder_.Add(
        std::move(spec), args,
        {{offsetof(StridedCopyArgs, src), from.ref}, {offsetof(StridedCopyArgs, dst), to}});
  }
}

std::vector<int64_t> Lowering::KnownInts(const Value* value) const {
  std::vector<int64_t> ints;
  const tensor::Tensor* tensor = known(value);
  if (tensor == nullptr) return ints;
  for (int64_t i = 0; i < tensor->shape.elements(); ++i) ints.push_back(ReadInt(*tensor, i));
  return ints;
}

Ref Lowering::Packed(const Value* value) {
  if (packed(value)) return place(value).ref;
  Ref& copy = packed_[Index(value)];
  if (copy.buffer >= 0) return copy;
  const int64_t element_bytes = tensor::DTypeSize(value->dtype);
  const StridedCopyArgs args = MakeStridedCopy(shape(value), place(value), element_bytes);
  copy = {builder_.NewBuffer(shape(value).elements() * element_bytes), 0};
  StepSpec spec{.run = StridedCopy,
                .tiles = StridedCopyTiles(args),
                .work = StridedCopyWork(args),
                .info = {"copy", value->name, shape(value).ToString(), {}}};
  builder_.Add(
      std::move(spec), args,
      {{offsetof(StridedCopyArgs, src), place(value).ref}, {offsetof(StridedCopyArgs, dst), copy}});
  return copy;
}

Place Lowering::ReshapedPlace(const Value* value, const tensor::Shape& to) {
  if (std::optional<Place> view = ReshapePlace(shape(value), place(value), to)) return *view;
  Place out;
  out.ref = Packed(value);
  SetPackedStrides(to, out);
  return out;
}

Place Lowering::Expanded(const Value* value, const tensor::Shape& to) {
  const tensor::Shape& from = shape(value);
  Place view;
  view.ref = place(value).ref;
  for (int axis = 0; axis < from.rank(); ++axis) {
    view.strides[to.rank() - from.rank() + axis] = from[axis] == 1 ? 0 : place(value).strides[axis];
  }
  const int64_t element_bytes = tensor::DTypeSize(value->dtype);
  const StridedCopyArgs args = MakeStridedCopy(to, view, element_bytes);
  Place out;
  SetPackedStrides(to, out);
  out.ref = {builder_.NewBuffer(to.elements() * element_bytes), 0};
  StepSpec spec{.run = StridedCopy,
                .tiles = StridedCopyTiles(args),
                .work = StridedCopyWork(args),
                .info = {"copy", value->name, to.ToString() + " broadcast", {}}};
  builder_.Add(
      std::move(spec), args,
      {{offsetof(StridedCopyArgs, src), view.ref}, {offsetof(StridedCopyArgs, dst), out.ref}});
  return out;
}

Place Lowering::DefineConcat(const Value* value, int64_t width) {
  const auto made = concats_.find(value);
  if (made != concats_.end()) {
    AliasRows(value, made->second, width);
    return made->second;
  }
  Place rows;
  rows.ref = Define(value);
  rows.strides[0] = width;
  rows.strides[1] = 1;
  return rows;
}

const Place* Lowering::Target(const Value* value) const {
  const auto found = targets_.find(value);
  return found == targets_.end() ? nullptr : &found->second;
}

void Lowering::AliasRows(const Value* value, const Place& rows, int64_t columns) {
  const tensor::Shape flat({shape(value).elements() / columns, columns});
  const std::optional<Place> place = ReshapePlace(flat, rows, shape(value));
  CHECK(place.has_value()) << value->name;
  Alias(value, *place);
}

void Lowering::FindTargets() {
  // The last first: a concatenation within another one is memory of that.
  for (Node* node = graph_.last(); node != nullptr; node = node->previous) {
    if (needed_[static_cast<size_t>(node->id)] && node->Is("Concat")) FindTargetsOf(*node);
  }
}

void Lowering::FindTargetsOf(const Node& concat) {
  const Value* output = concat.output();
  const tensor::Shape& to = shape(output);
  int64_t axis = concat.Int("axis", 0);
  if (axis < 0) axis += to.rank();
  if (axis < 0 || axis >= to.rank() || to.elements() == 0 || known(output) != nullptr) return;
  const int64_t rows = to.elements(0, static_cast<int>(axis));
  const int64_t width = to.elements(static_cast<int>(axis), to.rank());
  const int64_t element_bytes = tensor::DTypeSize(output->dtype);
  Place target;
  if (const Place* outer = Target(output)) {
    target = *outer;
  } else {
    target.ref = {builder_.NewBuffer(to.elements() * element_bytes), 0};
    target.strides[0] = width;
    target.strides[1] = 1;
  }
  concats_[output] = target;
  for (const Value* input : concat.inputs) {
    const int64_t columns = shape(input).elements(static_cast<int>(axis), to.rank());
    if (columns > 0) FindTarget(input, target, rows, columns);
    target.ref.offset += columns * element_bytes;
  }
}

void Lowering::FindTarget(const Value* value, const Place& target, int64_t rows, int64_t width) {
  // Past reshapes to what writes rows as far apart as it is told.
  for (int steps = 0; steps < 4; ++steps) {
    const Node* node = value->producer;
    if (node == nullptr || known(value) != nullptr || targets_.count(value) > 0) return;
    const tensor::Shape& own = shape(value);
    const bool rows_agree = own.rank() >= 1 && own[own.rank() - 1] == width;
    if (node->Is("Gather") && value->dtype == tensor::DType::kF32) {
      // A gather by a known index is a view, and then nothing is written.
      if (rows_agree && shape(node->input(0)).rank() == 2 && node->Int("axis", 0) == 0 &&
          known(node->input(1)) == nullptr) {
        targets_[value] = target;
      }
      return;
    }
    if (node->Is("FusedLookups") || node->Is("FusedLinear") || node->Is("FusedPairDots") ||
        node->Is("FusedVectorCross") || node->Is("FusedSecondOrder")) {
      if (rows_agree) targets_[value] = target;
      return;
    }
    if (node->Is("FusedChain")) {
      // It writes its own axes, as far apart as the target's rows put them. Other readers might
      // need it packed.
      if (own.elements() != rows * width || reader_count(value) != 1) return;
      if (const std::optional<Place> place =
              ReshapePlace(tensor::Shape({rows, width}), target, own))
        targets_[value] = *place;
      return;
    }
    if (node->Is("Concat")) {
      int64_t axis = node->Int("axis", 0);
      if (axis < 0) axis += own.rank();
      if (axis >= 0 && axis < own.rank() && own.elements(0, static_cast<int>(axis)) == rows)
        targets_[value] = target;
      return;
    }
    if (!(node->Is("Reshape") || node->Is("Unsqueeze") || node->Is("Squeeze") ||
          node->Is("Flatten")))
      return;
    value = node->input(0);
  }
}

Ref Lowering::Define(const Value* value) {
  Place place;
  place.ref = {builder_.NewBuffer(shape(value).elements() * tensor::DTypeSize(value->dtype)), 0};
  SetPackedStrides(shape(value), place);
  Alias(value, place);
  return place.ref;
}

Ref Lowering::DefineAt(const Value* value, std::span<const int64_t> strides) {
  const Ref ref = Define(value);
  Place at = place(value);
  std::copy(strides.begin(), strides.end(), at.strides);
  Alias(value, at);
  return ref;
}

Ref Lowering::DefineRows(const Value* value, int64_t width, int64_t stride) {
  if (stride == width) return Define(value);
  Place rows;
  const int64_t count = shape(value).elements() / width;
  rows.ref = {builder_.NewBuffer(count * stride * tensor::DTypeSize(value->dtype)), 0};
  rows.strides[0] = stride;
  rows.strides[1] = 1;
  AliasRows(value, rows, width);
  return rows.ref;
}

const kernels::PackedWeight* Lowering::weight(const Value* value, bool transposed) const {
  if (value == nullptr || !value->is_constant()) return nullptr;
  const auto found = weights_.find({value->constant.get(), transposed});
  return found == weights_.end() ? nullptr : found->second.get();
}

const kernels::LowWeight* Lowering::low_weight(const Node& node) const {
  const int64_t index = node.Int("low_weight", -1);
  return index < 0 ? nullptr : low_weights_[static_cast<size_t>(index)].get();
}

StepInfo Lowering::Info(const Node& node, std::string_view kind) const {
  StepInfo info;
  info.kind = kind;
  info.label = node.name.empty() && node.output() != nullptr ? node.output()->name : node.name;
  if (node.output() != nullptr) info.detail = shape(node.output()).ToString();
  info.node = &node;
  return info;
}

}  // namespace sluice::graph
