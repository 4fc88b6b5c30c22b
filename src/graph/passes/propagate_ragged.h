// The rules of the ragged form: what each op does to sequences and tokens, and what it becomes over
// packed rows. The pass that runs them is propagate_ragged.cc, attention and pooling are
// ragged_sites.cc, scores that no recogniser made an attention ragged_scores.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/passes/ragged_writer.h"

namespace sluice::graph {

class RaggedPropagator {
 public:
  // `mask` is an input [batch, length] of `graph`, both symbols; length <= length_max.
  RaggedPropagator(Graph& graph, const Value& mask, int64_t length_max);
  RaggedGraph Run();

 private:
  using State = RaggedState;
  using Kind = State::Kind;
  using States = std::vector<State>;
  using Rule = base::Result<States> (RaggedPropagator::*)(const Node&);
  static const std::map<std::string_view, Rule>& Rules();

  // --- Looking.
  State& StateOf(const Value* value) { return states_[static_cast<size_t>(value->id)]; }
  bool Has(const Node& node, Kind kind);
  static int Rank(const Value* value) { return static_cast<int>(value->shape->size()); }
  static Dim At(const Value* value, int axis) { return (*value->shape)[static_cast<size_t>(axis)]; }
  SymbolTable& symbols() { return graph_.symbols(); }
  bool DependsOnSizes(Dim dim) { return !dim.is_constant(); }
  // Whether the image has a row for every token (a value that is the same for all may have one).
  bool HasAllTokens(const State& state) const;
  static base::Error No(std::string why) { return base::InvalidArgument(std::move(why)); }

  // --- Making.
  base::Result<Value*> FreeImage(const Value* value);  // of kFree and uniform tables
  // A kTable or kAffine value that depends on one position as rows of tokens.
  base::Result<State> Tokenize(const Value* value, const Node& like);
  base::Result<MaskTable> TableOfValue(const Value* value);
  // The target of a reshape or expand of a token value: constants, and `length_mark` for the
  // tokens.
  base::Result<States> CopyTokens(const Node& node, std::vector<Value*> inputs, int batch,
                                  int length, std::optional<double> pad = std::nullopt);
  base::Result<States> CopySequences(const Node& node, std::vector<Value*> inputs);
  base::Result<States> CopyFree(const Node& node);
  static States One(State state) { return {std::move(state)}; }
  State TableState(MaskTable table);

  // --- Rules.
  base::Result<States> Follow(const Node& node);
  base::Result<States> Elementwise(const Node& node);
  base::Result<States> TokenElementwise(const Node& node);
  base::Result<States> NormOfSum(const Node& node);
  std::optional<double> PadOf(const Node& node, const std::vector<std::optional<double>>& pads);
  std::optional<Affine> AffineArithmetic(const Node& node);
  base::Result<States> RowWise(const Node& node);
  base::Result<States> MatMul(const Node& node);
  base::Result<States> AlongAxis(const Node& node);
  base::Result<States> Reshape(const Node& node);
  base::Result<State> ReshapeTokens(const Node& node);
  base::Result<States> Transpose(const Node& node);
  base::Result<States> Expand(const Node& node);
  base::Result<States> Gather(const Node& node);
  base::Result<States> GatherTokens(const Node& node);
  base::Result<States> GatherMask(const Node& node);
  base::Result<States> GatherNd(const Node& node);
  base::Result<States> GatherElements(const Node& node);
  base::Result<States> Slice(const Node& node);
  base::Result<States> Split(const Node& node);
  base::Result<States> Concat(const Node& node);
  base::Result<States> Fill(const Node& node);
  base::Result<States> Range(const Node& node);
  base::Result<States> CumSum(const Node& node);
  base::Result<States> Reduce(const Node& node);
  base::Result<States> Attention(const Node& node);
  base::Result<States> Rotary(const Node& node);
  // Of scores that are no node yet: ragged_scores.cc.
  base::Result<States> ScoreProduct(const Node& node);
  base::Result<States> ScoreBias(const Node& node);
  base::Result<States> ScoreElementwise(const Node& node);
  base::Result<States> ScoreReshape(const Node& node);
  base::Result<States> ScoreTranspose(const Node& node);
  base::Result<States> ScoreSoftmax(const Node& node);
  base::Result<States> WeighValues(const Node& node);
  base::Result<States> AddMask(const Value* value, State scores, const MaskTable& mask,
                               int mask_rank);
  base::Result<States> Tile(const Node& node);
  base::Result<States> RepeatedProduct(const Node& node);
  // A [1, tokens, ...] value with one row a sequence made of each sequence's rows.
  base::Result<State> Segments(const Node& node, const State& tokens, std::string_view mode);

  Graph& graph_;
  const Value& mask_;
  const int64_t length_max_;
  const Dim batch_;
  const Dim length_;
  RaggedWriter writer_;
  States states_;
  int64_t sites_ = 0;  // where the mask excludes padding: attention and pooling
};

}  // namespace sluice::graph
