#include "graph/passes/propagate_ragged.h"

#include <algorithm>

#include "graph/bound_length.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Tensor;

std::string NameOf(const Node& node) {
  const std::string& name =
      node.name.empty() && node.output() != nullptr ? node.output()->name : node.name;
  return "node '" + name + "' (" + std::string(node.op_name()) + ")";
}

}  // namespace

RaggedPropagator::RaggedPropagator(Graph& graph, const Value& mask, int64_t length_max)
    : graph_(graph),
      mask_(mask),
      length_max_(length_max),
      batch_((*mask.shape)[0]),
      length_((*mask.shape)[1]),
      states_(graph.value_id_limit()) {}

bool RaggedPropagator::Has(const Node& node, Kind kind) {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](const Value* value) {
    return value != nullptr && StateOf(value).kind == kind;
  });
}

bool RaggedPropagator::HasAllTokens(const State& state) const {
  return (*state.image->shape)[static_cast<size_t>(state.length)] == writer_.tokens();
}

RaggedState RaggedPropagator::TableState(MaskTable table) {
  State state;
  state.kind = Kind::kTable;
  state.table = std::move(table);
  return state;
}

base::Result<Value*> RaggedPropagator::FreeImage(const Value* value) {
  State& state = StateOf(value);
  if (state.kind == Kind::kTable && state.table.uniform()) {
    Tensor scalar = state.table.values;
    scalar.shape = tensor::Shape();
    for (int axis = 0; axis < Rank(value); ++axis) scalar.shape.Append(1);
    return writer_.Constant(std::move(scalar));
  }
  if (state.kind != Kind::kFree) {
    return No("it reads '" + value->name + "', which is not the same for every request");
  }
  if (state.image == nullptr && value->is_constant()) state.image = writer_.Constant(*value);
  if (state.image == nullptr) return No("it reads '" + value->name + "', which has no image");
  return state.image;
}

base::Result<MaskTable> RaggedPropagator::TableOfValue(const Value* value) {
  const State& state = StateOf(value);
  if (state.kind == Kind::kTable) return state.table;
  if (state.kind == Kind::kAffine) {
    std::optional<MaskTable> table =
        TableOf(state.affine[0], *value->shape, length_, value->dtype, length_max_);
    if (table.has_value()) return *std::move(table);
    return No("'" + value->name + "' is no function of one position or of a distance");
  }
  if (state.kind == Kind::kFree && value->is_constant() && value->constant->shape.elements() == 1) {
    return UniformTable(*value->constant);
  }
  return No("'" + value->name + "' is not decided by the mask and positions");
}

base::Result<RaggedState> RaggedPropagator::Tokenize(const Value* value, const Node& like) {
  if (StateOf(value).kind == Kind::kTokens) return StateOf(value);
  const MaskTable table = TRY(TableOfValue(value));
  std::optional<TokenValues> values = AsTokenValues(table);
  if (!values.has_value()) return No("'" + value->name + "' depends on two positions");
  State state;
  state.kind = Kind::kTokens;
  state.length = table.axes[0];
  state.batch = table.batch;
  state.pad = values->padded;
  std::vector<int64_t> target(static_cast<size_t>(Rank(value)), 1);
  if (values->kept.shape[0] == 1) {
    values->kept.shape = tensor::Shape();
    for (int axis = 0; axis < Rank(value); ++axis) values->kept.shape.Append(1);
    state.image = writer_.Constant(std::move(values->kept));
    return state;
  }
  target[static_cast<size_t>(state.length)] = -1;
  Value* const rows = TRY(writer_.Add(
      "Gather", {writer_.Constant(std::move(values->kept)), writer_.Positions()}, like));
  state.image = TRY(writer_.Reshape(rows, target, like));
  return state;
}

base::Result<RaggedPropagator::States> RaggedPropagator::CopyTokens(const Node& node,
                                                                    std::vector<Value*> inputs,
                                                                    int batch, int length,
                                                                    std::optional<double> pad) {
  const std::vector<Value*> images = TRY(writer_.Copy(node, std::move(inputs)));
  States states(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    if (images[i] == nullptr) continue;
    State& state = states[i];
    state.kind = Kind::kTokens;
    state.image = images[i];
    state.batch = batch;
    state.length = length;
    state.pad = pad;
    if (Rank(images[i]) != Rank(node.outputs[i])) return No("its packed form has another rank");
    for (int axis = 0; axis < Rank(images[i]); ++axis) {
      const Dim wanted = At(node.outputs[i], axis);
      const Dim got = At(images[i], axis);
      const bool fits = axis == length || axis == batch || wanted == got || got.Is(1);
      if (!fits) return No("its packed form has another shape");
    }
  }
  return states;
}

base::Result<RaggedPropagator::States> RaggedPropagator::CopySequences(const Node& node,
                                                                       std::vector<Value*> inputs) {
  const std::vector<Value*> images = TRY(writer_.Copy(node, std::move(inputs)));
  States states(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    if (images[i] == nullptr) continue;
    states[i].kind = Kind::kSequences;
    states[i].image = images[i];
    if (Rank(images[i]) < 1 || !(At(images[i], 0) == writer_.sequences())) {
      return No("it moves the sequences off the first axis");
    }
  }
  return states;
}

base::Result<RaggedPropagator::States> RaggedPropagator::CopyFree(const Node& node) {
  std::vector<Value*> inputs;
  for (const Value* value : node.inputs) {
    inputs.push_back(value == nullptr ? nullptr : TRY(FreeImage(value)));
  }
  const std::vector<Value*> images = TRY(writer_.Copy(node, std::move(inputs)));
  States states(images.size());
  for (size_t i = 0; i < images.size(); ++i) states[i].image = images[i];
  return states;
}

base::Result<RaggedPropagator::States> RaggedPropagator::Follow(const Node& node) {
  for (const Value* value : node.inputs) {
    if (value != nullptr && !value->shape.has_value())
      return No("the rank of an input is not known");
  }
  const Value* output = node.output();
  if (output != nullptr && !output->shape.has_value())
    return No("the rank of its output is not known");
  // Shape arithmetic: single numbers may become part of index arithmetic.
  if (output != nullptr && output->elements.has_value() && node.outputs.size() == 1) {
    if (output->elements->size() != 1) return No("it computes with shapes");
    State state;
    state.kind = Kind::kAffine;
    state.affine.push_back(
        {(*output->elements)[0], std::vector<Dim>(static_cast<size_t>(Rank(output)), Dim(0))});
    return One(std::move(state));
  }
  const auto rule =
      Rules().find(node.op->domain.empty() || node.op->domain == kOurDomain ? node.op->name
                                                                            : std::string_view());
  const bool free = std::all_of(node.inputs.begin(), node.inputs.end(), [&](const Value* value) {
    return value == nullptr || StateOf(value).kind == Kind::kFree;
  });
  const bool sized = output != nullptr && std::any_of(output->shape->begin(), output->shape->end(),
                                                      [](Dim dim) { return !dim.is_constant(); });
  if (free && !sized) {
    if ((node.op->traits & kNotDeterministic) != 0) return No("it is random");
    if (!node.subgraphs.empty()) return No("it is control flow");
    return CopyFree(node);
  }
  // What an operand's shape alone decides is not looked at by these.
  const bool shape_operand = node.Is("Reshape") || node.Is("Expand") ||
                             node.Is("ConstantOfShape") || node.Is("Range") || node.Is("Slice") ||
                             node.Is("Tile");
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* value = node.inputs[i];
    if (value == nullptr || StateOf(value).kind != Kind::kOpaque) continue;
    if (shape_operand && (i > 0 || node.Is("ConstantOfShape") || node.Is("Range"))) continue;
    return base::Error{base::Code::kUnimplemented, StateOf(value).why};  // named already
  }
  if (rule != Rules().end()) return (this->*rule->second)(node);
  if ((node.op->traits & kElementwise) != 0) return Elementwise(node);
  return No("this op is not known to keep tokens apart");
}

RaggedGraph RaggedPropagator::Run() {
  RaggedGraph result;
  const auto fail = [&](std::string why) {
    result.reason = std::move(why);
    return std::move(result);
  };
  for (size_t i = 0; i < graph_.inputs().size(); ++i) {
    const Value* input = graph_.inputs()[i];
    State& state = StateOf(input);
    if (!input->shape.has_value() || input->shape->empty() || !(At(input, 0) == batch_)) {
      return fail("input '" + input->name + "' does not have the batch as its first axis");
    }
    if (input == &mask_) {
      result.form.mask_input = static_cast<int>(i);
      Tensor bits{input->dtype, tensor::Shape({2, 1, 1, 1}),
                  tensor::Buffer::Allocate(2 * tensor::DTypeSize(input->dtype))};
      for (int64_t bit = 0; bit < 2; ++bit) {
        const tensor::View view = bits.mutable_view();
        if (input->dtype == DType::kI64) view.as<int64_t>()[bit] = bit;
        if (input->dtype == DType::kI32) view.as<int32_t>()[bit] = static_cast<int32_t>(bit);
        if (input->dtype == DType::kF32) view.as<float>()[bit] = static_cast<float>(bit);
        if (input->dtype == DType::kBool) view.as<bool>()[bit] = bit != 0;
      }
      MaskTable table;
      table.values = std::move(bits);
      table.batch = 0;
      table.axes[0] = 1;
      state = TableState(std::move(table));
      continue;
    }
    const bool tokens = Rank(input) >= 2 && At(input, 1) == length_;
    for (int axis = 1; axis < Rank(input); ++axis) {
      if (At(input, axis).is_constant() || (axis == 1 && tokens)) continue;
      return fail("axis " + std::to_string(axis) + " of input '" + input->name + "' is open");
    }
    state.kind = tokens ? Kind::kTokens : Kind::kSequences;
    state.image =
        writer_.AddFeed(*input, static_cast<int>(i),
                        tokens ? RaggedForm::Feed::kTokens : RaggedForm::Feed::kSequences);
    if (tokens) {
      state.batch = 0;
      state.length = 1;
    }
  }
  for (const Node* node = graph_.first(); node != nullptr; node = node->next) {
    base::Result<States> states = Follow(*node);
    if (states.ok() && states->size() < node->outputs.size()) {
      states = No("its outputs are not all known");
    }
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      if (node->outputs[i] == nullptr) continue;
      State& state = StateOf(node->outputs[i]);
      if (states.ok()) {
        state = std::move((*states)[i]);
        continue;
      }
      state.kind = Kind::kOpaque;
      state.why = states.error().code == base::Code::kUnimplemented
                      ? states.error().message
                      : NameOf(*node) + ": " + states.error().message;
    }
  }
  for (const GraphOutput& output : graph_.outputs()) {
    const State& state = StateOf(output.value);
    if (state.kind == Kind::kOpaque) return fail(state.why);
    if (state.kind == Kind::kTokens && state.batch == 0 && state.length == 1 &&
        HasAllTokens(state)) {
      result.form.outputs.push_back(RaggedForm::Delivery::kTokens);
    } else if (state.kind == Kind::kSequences) {
      result.form.outputs.push_back(RaggedForm::Delivery::kSequences);
    } else {
      return fail("output '" + output.name + "' has neither a row a token nor a row a sequence");
    }
    writer_.graph().AddOutput(output.name, state.image);
  }
  if (sites_ == 0) return fail("nothing reads the mask '" + mask_.name + "'");
  result.form.length_max = length_max_;
  writer_.Finish(result.form);
  result.graph = writer_.Take();
  result.reason = "the mask '" + mask_.name + "' excludes padding at " + std::to_string(sites_) +
                  " places, and every other node keeps tokens apart";
  return result;
}

base::Result<int64_t> PropagateRagged(PassContext& context) {
  if (context.options.length_max <= 0) return int64_t{0};
  const Value* mask = FindPaddingMask(context.graph);
  if (mask == nullptr) return int64_t{0};
  context.ragged = RaggedPropagator(context.graph, *mask, context.options.length_max).Run();
  return context.ragged.graph == nullptr ? int64_t{0} : int64_t{1};
}

}  // namespace sluice::graph
