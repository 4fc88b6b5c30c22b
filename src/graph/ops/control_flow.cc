// If, Loop and Scan: ops that carry closed subgraphs (ir.h: Node::captures). The interpreter runs
// them; a compiled program has them folded away or hands the whole graph to the interpreter.
#include <algorithm>
#include <array>
#include <cstring>

#include "graph/interpreter.h"
#include "graph/ops/rules.h"
#include "graph/ops/tables.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::Tensor;

// What is known of a value that is `a` on one path and `b` on the other.
std::optional<SymShape> Join(InferContext& context, const std::optional<SymShape>& a,
                             const std::optional<SymShape>& b) {
  if (!a.has_value() || !b.has_value() || a->size() != b->size()) return std::nullopt;
  SymShape joined = *a;
  for (size_t i = 0; i < joined.size(); ++i) {
    if (joined[i] != (*b)[i]) joined[i] = context.Fresh("joined");
  }
  return joined;
}

void SetInputType(Value& value, const Value& outer) {
  value.typed = true;
  value.dtype = outer.dtype;
  value.shape = outer.shape;
  value.elements = outer.elements;
}

// Types the captures, which are the last inputs of node and subgraph.
Status TypeCaptures(InferContext& context, Graph& body) {
  const auto captures = static_cast<size_t>(context.node().captures);
  const std::vector<Value*>& outer = context.node().inputs;
  if (body.inputs().size() < captures || outer.size() < captures)
    return context.Fail("has a subgraph without its captures");
  for (size_t i = 1; i <= captures; ++i) {
    SetInputType(*body.inputs()[body.inputs().size() - i], *outer[outer.size() - i]);
  }
  return Ok();
}

// ---- If ----

Status InferIf(InferContext& context) {
  TRY(ExpectType(context, 0, kBoolType));
  Graph* then_branch = context.node().FindSubgraph("then_branch");
  Graph* else_branch = context.node().FindSubgraph("else_branch");
  if (then_branch == nullptr || else_branch == nullptr) return context.Fail("lacks a branch");
  for (Graph* branch : {then_branch, else_branch}) {
    if (branch->inputs().size() != static_cast<size_t>(context.node().captures)) {
      return context.Fail("a branch must not have inputs");
    }
    if (branch->outputs().size() != context.output_count()) {
      return context.Fail("a branch has another number of outputs than the node");
    }
    TRY(TypeCaptures(context, *branch));
    TRY(InferGraph(*branch));
  }
  for (size_t i = 0; i < context.output_count(); ++i) {
    const Value& a = *then_branch->outputs()[i].value;
    const Value& b = *else_branch->outputs()[i].value;
    if (a.dtype != b.dtype)
      return context.Fail("the branches give output " + std::to_string(i) + " two types");
    context.SetOutput(i, a.dtype, Join(context, a.shape, b.shape));
  }
  return Ok();
}

Status RunIf(RunContext& context) {
  const int64_t condition = TRY(ReadInt(context, 0));
  const Graph* branch = context.node().FindSubgraph(condition != 0 ? "then_branch" : "else_branch");
  std::vector<Tensor> captures;
  for (size_t i = 1; i < context.input_count(); ++i)
    captures.push_back(TRY(context.InputTensor(i)));
  std::vector<Tensor> results = TRY(context.RunSubgraph(*branch, captures));
  for (size_t i = 0; i < results.size(); ++i) {
    if (context.has_output(i)) TRY(context.SetOutput(i, std::move(results[i])));
  }
  return Ok();
}

// ---- Stacking of what iterations yield ----

// Joins equal tensors along a new axis. With no tensors: `empty`, whose first extent is 0.
Result<Tensor> Stack(RunContext& context, size_t output, std::vector<Tensor>& rows, int axis) {
  const Value& value = *context.node().outputs[output];
  Shape shape;
  if (rows.empty()) {
    // Nothing was made that could tell the other extents; inference may.
    shape.Append(0);
    if (value.shape.has_value()) {
      for (size_t i = 1; i < value.shape->size(); ++i) {
        const Dim dim = (*value.shape)[i];
        shape.Append(dim.is_constant() ? dim.constant() : 0);
      }
    }
    const tensor::View made = TRY(context.Output(output, value.dtype, shape));
    return Tensor{made.dtype, made.shape, {}};
  }
  const Tensor& first = rows[0];
  // Their characters belong to the rows, which do not outlive this call.
  if (first.dtype == DType::kBytes) return context.Fail("strings cannot be stacked");
  if (first.shape.rank() >= tensor::kMaxRank)
    return context.Fail("a scan output has a rank above the limit");
  for (const Tensor& row : rows) {
    if (row.shape != first.shape)
      return context.Fail("a scan output changes its shape between iterations");
  }
  for (int i = 0; i <= first.shape.rank(); ++i) {
    shape.Append(i == axis ? static_cast<int64_t>(rows.size()) : first.shape[i < axis ? i : i - 1]);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View made = TRY(context.Output(output, first.dtype, shape));
  const int64_t inner =
      first.shape.elements(axis, first.shape.rank()) * tensor::DTypeSize(first.dtype);
  const int64_t outer = first.shape.elements(0, axis);
  auto* to = static_cast<std::byte*>(made.data);
  for (int64_t i = 0; i < outer && inner > 0; ++i) {
    for (const Tensor& row : rows) {
      std::memcpy(to, row.buffer.data() + i * inner, static_cast<size_t>(inner));
      to += inner;
    }
  }
  return Tensor{made.dtype, made.shape, {}};
}

// ---- Loop ----

// Inputs: M, condition, v..., captures. Body: iteration, condition, v..., captures -> condition,
// v..., scans...
Status InferLoop(InferContext& context) {
  TRY(ExpectType(context, 0, kInt64Type));
  TRY(ExpectType(context, 1, kBoolType));
  Graph* body = context.node().FindSubgraph("body");
  if (body == nullptr) return context.Fail("lacks its body");
  const size_t captures = static_cast<size_t>(context.node().captures);
  const size_t inputs = context.input_count() - captures;
  if (inputs < 2) return context.Fail("needs the inputs M and cond, if only as absent");
  const size_t carried = inputs - 2;
  if (body->inputs().size() != carried + 2 + captures)
    return context.Fail("the body has another number of inputs");
  if (body->outputs().size() < carried + 1 ||
      body->outputs().size() - 1 != context.output_count()) {
    return context.Fail("the body has another number of outputs");
  }
  TRY(TypeCaptures(context, *body));
  Value& iteration = *body->inputs()[0];
  iteration.typed = true;
  iteration.dtype = DType::kI64;
  iteration.shape = SymShape();
  Value& condition = *body->inputs()[1];
  condition.typed = true;
  condition.dtype = DType::kBool;
  condition.shape = SymShape();
  for (size_t i = 0; i < carried; ++i) {
    if (!context.has_input(2 + i)) return context.Fail("lacks a carried value");
    Value& inner = *body->inputs()[2 + i];
    SetInputType(inner, *context.node().inputs[2 + i]);
    inner.elements.reset();
  }
  // An extent that an iteration changes is unknown; each round makes at least one more unknown or
  // is the last.
  constexpr int kRoundsMax = 2;
  for (int round = 0;; ++round) {
    TRY(InferGraph(*body));
    bool stable = true;
    for (size_t i = 0; i < carried; ++i) {
      Value& inner = *body->inputs()[2 + i];
      const Value& made = *body->outputs()[1 + i].value;
      if (made.dtype != inner.dtype) return context.Fail("a carried value changes its type");
      if (!inner.shape.has_value()) continue;
      std::optional<SymShape> joined =
          round < kRoundsMax ? Join(context, inner.shape, made.shape) : std::nullopt;
      if (joined == inner.shape) continue;
      inner.shape = std::move(joined);
      stable = false;
    }
    if (stable) break;
    // What was inferred from the narrower types no longer holds.
    for (Node* node = body->first(); node != nullptr; node = node->next) {
      for (Value* output : node->outputs) {
        if (output == nullptr) continue;
        output->shape.reset();
        output->elements.reset();
      }
    }
  }
  const Value& next = *body->outputs()[0].value;
  if (next.dtype != DType::kBool) return context.Fail("the body's condition must be BOOL");
  for (size_t i = 0; i < context.output_count(); ++i) {
    const Value& made = *body->outputs()[1 + i].value;
    if (i < carried) {
      const Value& inner = *body->inputs()[2 + i];
      context.SetOutput(i, inner.dtype,
                        Join(context, context.node().inputs[2 + i]->shape, inner.shape));
      continue;
    }
    std::optional<SymShape> shape;
    if (made.shape.has_value()) {
      shape = SymShape{context.Fresh("iterations")};
      for (const Dim& dim : *made.shape)
        shape->push_back(dim.is_constant() ? dim : context.Fresh("scan"));
    }
    context.SetOutput(i, made.dtype, std::move(shape));
  }
  return Ok();
}

Status RunLoop(RunContext& context) {
  const Graph& body = *context.node().FindSubgraph("body");
  const auto captures = static_cast<size_t>(context.node().captures);
  const size_t carried = context.input_count() - captures - 2;
  int64_t trips = INT64_MAX;
  if (context.has_input(0)) trips = TRY(ReadInt(context, 0));
  bool go_on = true;
  if (context.has_input(1)) go_on = TRY(ReadInt(context, 1)) != 0;
  const size_t scans = context.output_count() - carried;
  std::vector<Tensor> state(body.inputs().size());
  for (size_t i = 0; i < carried + captures; ++i) state[2 + i] = TRY(context.InputTensor(2 + i));
  std::vector<std::vector<Tensor>> rows(scans);
  for (int64_t iteration = 0; iteration < trips && go_on; ++iteration) {
    TRY(context.TakeIteration());
    state[0] = Tensor{DType::kI64, Shape(), tensor::Buffer::Allocate(8)};
    state[0].mutable_view().as<int64_t>()[0] = iteration;
    state[1] = Tensor{DType::kBool, Shape(), tensor::Buffer::Allocate(1)};
    state[1].mutable_view().as<bool>()[0] = go_on;
    std::vector<Tensor> made = TRY(context.RunSubgraph(body, state));
    if (made[0].shape.elements() != 1)
      return context.Fail("the body's condition must be one element");
    go_on = made[0].view().as<bool>()[0];
    for (size_t i = 0; i < carried; ++i) state[2 + i] = std::move(made[1 + i]);
    for (size_t i = 0; i < scans; ++i) rows[i].push_back(std::move(made[1 + carried + i]));
  }
  for (size_t i = 0; i < carried; ++i) {
    if (context.has_output(i)) TRY(context.SetOutput(i, std::move(state[2 + i])));
  }
  for (size_t i = 0; i < scans; ++i) {
    if (context.has_output(carried + i)) TRY(Stack(context, carried + i, rows[i], 0));
  }
  return Ok();
}

// ---- Scan (opset 9 on: no batch axis) ----

struct ScanCounts {
  size_t states = 0;
  size_t scans = 0;
  size_t results = 0;
};

template <class Context>
Result<ScanCounts> CountScan(const Context& context, const Graph& body) {
  const size_t inputs = context.input_count() - static_cast<size_t>(context.node().captures);
  const int64_t scans = context.node().Int("num_scan_inputs", 0);
  if (scans < 1 || static_cast<size_t>(scans) > inputs)
    return context.Fail("num_scan_inputs is out of range");
  ScanCounts counts;
  counts.scans = static_cast<size_t>(scans);
  counts.states = inputs - counts.scans;
  if (body.inputs().size() != context.input_count() ||
      body.outputs().size() != context.output_count() || context.output_count() < counts.states) {
    return context.Fail("the body does not match the inputs and outputs");
  }
  counts.results = context.output_count() - counts.states;
  return counts;
}

// Entry i of an optional list attribute.
int64_t ListEntry(const Node& node, std::string_view name, size_t i) {
  const std::span<const int64_t> list = node.Ints(name);
  return i < list.size() ? list[i] : 0;
}

Status InferScan(InferContext& context) {
  Graph* body = context.node().FindSubgraph("body");
  if (body == nullptr) return context.Fail("lacks its body");
  const ScanCounts counts = TRY(CountScan(context, *body));
  TRY(TypeCaptures(context, *body));
  Dim length = context.Fresh("iterations");
  for (size_t i = 0; i < counts.states + counts.scans; ++i) {
    if (!context.has_input(i)) return context.Fail("lacks an input");
    Value& inner = *body->inputs()[i];
    SetInputType(inner, *context.node().inputs[i]);
    inner.elements.reset();
    if (!inner.shape.has_value()) continue;
    if (i < counts.states) {
      // A state may change its extents from one iteration to the next; the run tells.
      inner.shape = FreshShape(context, "state", inner.shape->size());
      continue;
    }
    const int axis =
        TRY(NormalAxis(context, ListEntry(context.node(), "scan_input_axes", i - counts.states),
                       static_cast<int>(inner.shape->size())));
    length = (*inner.shape)[static_cast<size_t>(axis)];
    inner.shape->erase(inner.shape->begin() + axis);
  }
  TRY(InferGraph(*body));
  for (size_t i = 0; i < context.output_count(); ++i) {
    const Value& made = *body->outputs()[i].value;
    std::optional<SymShape> shape;
    if (made.shape.has_value() && i < counts.states)
      shape = FreshShape(context, "state", made.shape->size());
    if (i < counts.states && made.dtype != context.dtype(i))
      return context.Fail("a state changes its type");
    if (made.shape.has_value() && i >= counts.states) {
      shape = FreshShape(context, "scan", made.shape->size() + 1);
      const int axis =
          TRY(NormalAxis(context, ListEntry(context.node(), "scan_output_axes", i - counts.states),
                         static_cast<int>(shape->size())));
      (*shape)[static_cast<size_t>(axis)] = length;
    }
    context.SetOutput(i, made.dtype, std::move(shape));
  }
  return Ok();
}

// Slice `index` of `x` along `axis`, with the axis gone.
Result<Tensor> Row(RunContext& context, const Tensor& x, int axis, int64_t index) {
  Shape shape;
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (i != axis) shape.Append(x.shape[i]);
  }
  const int64_t inner = x.shape.elements(axis + 1, x.shape.rank()) * tensor::DTypeSize(x.dtype);
  const int64_t outer = x.shape.elements(0, axis);
  Tensor row = TRY(Tensor::Allocate(x.dtype, shape, INT64_MAX));
  const std::byte* from = x.buffer.data() + index * inner;
  for (int64_t i = 0; i < outer && inner > 0; ++i) {
    std::memcpy(row.buffer.mutable_data() + i * inner, from + i * inner * x.shape[axis],
                static_cast<size_t>(inner));
  }
  if (x.dtype == DType::kBytes) return context.Fail("strings cannot be scanned");
  return row;
}

Status RunScan(RunContext& context) {
  const Graph& body = *context.node().FindSubgraph("body");
  const ScanCounts counts = TRY(CountScan(context, body));
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < context.input_count(); ++i) inputs.push_back(TRY(context.InputTensor(i)));
  int64_t length = -1;
  std::vector<int> axes(counts.scans);
  for (size_t i = 0; i < counts.scans; ++i) {
    const Shape& shape = inputs[counts.states + i].shape;
    axes[i] =
        TRY(NormalAxis(context, ListEntry(context.node(), "scan_input_axes", i), shape.rank()));
    if (length >= 0 && shape[axes[i]] != length)
      return context.Fail("the scanned inputs have different lengths");
    length = shape[axes[i]];
  }
  std::vector<std::vector<Tensor>> rows(counts.results);
  std::vector<Tensor> state = inputs;
  for (int64_t step = 0; step < length; ++step) {
    TRY(context.TakeIteration());
    for (size_t i = 0; i < counts.scans; ++i) {
      const bool backward = ListEntry(context.node(), "scan_input_directions", i) != 0;
      state[counts.states + i] = TRY(
          Row(context, inputs[counts.states + i], axes[i], backward ? length - 1 - step : step));
    }
    std::vector<Tensor> made = TRY(context.RunSubgraph(body, state));
    for (size_t i = 0; i < counts.states; ++i) state[i] = std::move(made[i]);
    for (size_t i = 0; i < counts.results; ++i)
      rows[i].push_back(std::move(made[counts.states + i]));
  }
  for (size_t i = 0; i < counts.states; ++i) {
    if (context.has_output(i)) TRY(context.SetOutput(i, std::move(state[i])));
  }
  for (size_t i = 0; i < counts.results; ++i) {
    if (!context.has_output(counts.states + i)) continue;
    if (ListEntry(context.node(), "scan_output_directions", i) != 0)
      std::reverse(rows[i].begin(), rows[i].end());
    int axis = 0;
    if (!rows[i].empty()) {
      axis = TRY(NormalAxis(context, ListEntry(context.node(), "scan_output_axes", i),
                            rows[i][0].shape.rank() + 1));
    }
    TRY(Stack(context, counts.states + i, rows[i], axis));
  }
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"If", 1, 1, 1, 1, -1, kControlFlow, InferIf, RunIf},
    {"Loop", 1, 0, -1, 1, -1, kControlFlow, InferLoop, RunLoop},
    {"Scan", 9, 1, -1, 1, -1, kControlFlow, InferScan, RunScan},
});

}  // namespace

std::span<const OpDef> ControlFlowOps() {
  return kOps;
}

}  // namespace sluice::graph
