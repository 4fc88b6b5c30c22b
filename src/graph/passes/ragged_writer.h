// What propagate_ragged.cc knows of each value of the padded graph, and how it writes the ragged
// one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/op.h"
#include "graph/passes/mask_algebra.h"
#include "graph/ragged.h"

namespace sluice::graph {

// Scores of queries against keys while they are not yet an attention. The last two axes of the
// value are the queries and the keys of a sequence.
struct RaggedScores {
  // rows[i or j][columns[j - i + length_max - 1]] times the factor, i the query and j the key.
  struct Bias {
    Value* rows = nullptr;  // image [.., tokens, columns]
    std::vector<int32_t> columns;
    double factor = 1;
    bool by_key = false;
  };
  Value* q = nullptr;  // images [.., tokens, width] and [.., width, tokens]; null: no product yet
  Value* k = nullptr;
  double scale = 1;
  std::vector<Bias> biases;
  std::optional<MaskTable> mask;  // of [sequences, queries, keys]
  bool normalized = false;        // softmax has made them weights
};

// What a value of the padded graph is, in terms of sequences and tokens.
struct RaggedState {
  enum class Kind : uint8_t {
    kFree,       // the same whatever comes in; `image` is made when it is first needed
    kTokens,     // a row a token: [.., batch, .., length, ..]; its image has 1 and all tokens there
    kSequences,  // a row a sequence on axis 0
    kTable,      // decided by the mask and positions
    kAffine,     // integers that only shapes and indices decide
    kPairs,      // index tuples along the last axis, each part affine
    kRepeated,   // the same rows for every sequence, one behind the other on the batch axis
    kScores,     // [.., batch, .., length, length], not computed: see RaggedScores
    kOpaque,     // not understood; harmless unless something needs it
  };
  Kind kind = Kind::kFree;
  Value* image =
      nullptr;      // in the ragged graph; null for kTable, kAffine, kPairs, kScores, kOpaque
  int batch = -1;   // kTokens: the axis of the sequences, alone or merged; -1: none
  int length = -1;  // kTokens: the axis of the tokens; == batch when the two are merged
  std::optional<double> pad;   // kTokens: what the padded graph has at padding, where that is known
  MaskTable table;             // kTable
  std::vector<Affine> affine;  // kAffine: one; kPairs: one a part
  RaggedScores scores;         // kScores
  std::string why;             // kOpaque: the node and the reason
};

// The ragged graph under construction: adds nodes beside those it copies and types them at once.
class RaggedWriter {
 public:
  RaggedWriter();

  Graph& graph() { return *graph_; }
  std::unique_ptr<Graph> Take() { return std::move(graph_); }
  Dim tokens() const { return tokens_; }
  Dim sequences() const { return sequences_; }

  // Model input `index` as a feed; `shape` is the model's.
  Value* AddFeed(const Value& input, int index, RaggedForm::Feed feed);
  Value* Starts() const { return starts_; }
  Value* Positions();  // int64 [tokens]

  // The image of a constant.
  Value* Constant(const Value& value);
  Value* Constant(tensor::Tensor tensor);
  Value* Ints(const std::vector<int64_t>& values);
  base::Result<Value*> Add(std::string_view op, std::vector<Value*> inputs, const Node& like);
  base::Result<Value*> Reshape(Value* value, const std::vector<int64_t>& target, const Node& like);
  // The same node over other inputs; its outputs in order, null where it has none.
  base::Result<std::vector<Value*>> Copy(const Node& node, std::vector<Value*> inputs);

  // Inputs that no node reads go; the form lists what is left.
  void Finish(RaggedForm& form);

 private:
  std::unique_ptr<Graph> graph_;
  Dim tokens_;
  Dim sequences_;
  Value* starts_ = nullptr;
  Value* positions_ = nullptr;
  std::vector<std::pair<Value*, RaggedForm::Input>> feeds_;
};

}  // namespace sluice::graph
