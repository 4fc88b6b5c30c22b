// Turns the nodes of a graph with concrete shapes into steps: which op becomes which kernel is
// lower_*.cc, a table each.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "graph/lower/place.h"
#include "graph/lower/program_builder.h"
#include "graph/program.h"
#include "kernels/weight_store.h"

namespace sluice::graph {

// Weights packed at load, by the constant that they were packed from and whether it was transposed.
using PackedWeights =
    std::map<std::pair<const tensor::Tensor*, bool>, std::shared_ptr<const kernels::PackedWeight>>;

// Those of 16 and 8 bits, by the attribute "low_weight" of their FusedLinear.
using LowWeights = std::vector<std::shared_ptr<const kernels::LowWeight>>;

class Lowering;

// How one op is lowered. `lower` returns false when it declines these shapes or types: then the
// reference kernel runs.
struct LoweringRule {
  std::string_view op;
  uint32_t data_inputs =
      ~0u;  // bit i: the elements of input i are read; the others only tell shapes
  base::Result<bool> (*lower)(Lowering&, const Node&) = nullptr;
};
const LoweringRule* FindLoweringRule(const Node& node);

// One plan under construction; one thread. The graph's shapes are all constants.
class Lowering {
 public:
  Lowering(const Graph& graph, const PackedWeights& weights, const LowWeights& low_weights,
           Plan& plan, MachineRates rates);

  // Every node that the outputs need, in order; then the memory. kInvalidArgument for ranks above
  // the limit.
  base::Status Run();

  // For the rules.
  const tensor::Shape& shape(const Value* value) const { return shapes_[Index(value)]; }
  // The elements where they are known before any run, else null.
  const tensor::Tensor* known(const Value* value) const { return known_[Index(value)]; }
  // Its integers, widened; empty when not known.
  std::vector<int64_t> KnownInts(const Value* value) const;
  const Place& place(const Value* value) const { return places_[Index(value)]; }
  bool packed(const Value* value) const { return IsPacked(shape(value), place(value)); }
  // Packed elements of a value: copies them in a step of their own where they are strided.
  Ref Packed(const Value* value);
  // The value as packed rows of its last axis, or as the place of another shape; copies when it
  // must.
  Place ReshapedPlace(const Value* value, const tensor::Shape& to);
  // New packed memory for an output.
  Ref Define(const Value* value);
  // New memory for an output in the order of other strides; it must be as large as the packed one.
  Ref DefineAt(const Value* value, std::span<const int64_t> strides);
  // New memory for an output of rows of `width` elements of its last axis, `stride` apart.
  Ref DefineRows(const Value* value, int64_t width, int64_t stride);
  // The value broadcast to `shape` and packed.
  Place Expanded(const Value* value, const tensor::Shape& shape);
  // The memory of a concatenation, shared with what has been written there before it: rows of
  // `width` elements, as far apart as the place says.
  Place DefineConcat(const Value* value, int64_t width);
  // Where `value`, rows of its last axis, should be written because a concatenation puts it there;
  // null: anywhere. The place is [rows, width]; of a fused chain it has the value's own axes.
  const Place* Target(const Value* value) const;
  // The value's elements are rows of `columns` at a two-axis place.
  void AliasRows(const Value* value, const Place& rows, int64_t columns);
  // Keeps what argument blocks point to for as long as the plan lives.
  void Keep(std::shared_ptr<const void> owner) { plan_.owners.push_back(std::move(owner)); }
  // The output's elements lie at `place`.
  void Alias(const Value* value, const Place& place) { places_[Index(value)] = place; }
  const kernels::PackedWeight* weight(const Value* value, bool transposed) const;
  // Null for a linear layer in f32.
  const kernels::LowWeight* low_weight(const Node& node) const;
  // The buffer of a value's rows as a path of low precision takes them; none until someone sets it.
  Ref& PreparedRows(const Value* value, kernels::LowPath path) { return prepared_[{value, path}]; }
  const Graph& graph() const { return graph_; }
  ProgramBuilder& builder() { return builder_; }
  const MachineRates& rates() const { return builder_.rates(); }
  StepInfo Info(const Node& node, std::string_view kind) const;
  // Nodes of the whole graph that read this value's elements, counting the graph's outputs.
  int64_t reader_count(const Value* value) const { return graph_.UseCount(value); }

 private:
  static size_t Index(const Value* value) { return static_cast<size_t>(value->id); }
  base::Status ReadShapes();
  void PlaceInterface();
  void MarkNeeded();
  void MarkValue(const Value* value, std::vector<const Node*>& work);
  // Elements that shapes alone decide.
  void KnowElements(const Value* value);
  bool TryEvaluate(const Node& node);
  base::Status LowerNode(const Node& node);
  void LowerReference(const Node& node);
  void DeliverOutputs();
  // Finds the values that can be written straight into a concatenation.
  void FindTargets();
  void FindTargetsOf(const Node& concat);
  void FindTarget(const Value* value, const Place& target, int64_t rows, int64_t width);

  const Graph& graph_;
  const PackedWeights& weights_;
  const LowWeights& low_weights_;
  Plan& plan_;
  ProgramBuilder builder_;
  std::vector<tensor::Shape> shapes_;  // by value id, as the following
  std::vector<const tensor::Tensor*> known_;
  std::vector<Place> places_;
  std::vector<Ref> packed_;  // copies made by Packed
  std::map<std::pair<const Value*, kernels::LowPath>, Ref> prepared_;
  std::map<const Value*, Place> targets_;  // [rows, width] places inside concatenations
  std::map<const Value*, Place> concats_;  // [rows, width] of concatenations, before their node
  std::vector<bool> needed_;               // by node id
  std::vector<std::unique_ptr<tensor::Tensor>> made_;
};

}  // namespace sluice::graph
