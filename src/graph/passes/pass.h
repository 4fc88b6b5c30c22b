// The passes over the graph: each a function in a file of its own, run by pipeline.cc with the
// verifier after each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "graph/ragged.h"
#include "graph/weight_choice.h"

namespace sluice::graph {

// What a pass did, for explain.
struct PassReport {
  std::string_view name;
  int64_t changes = 0;
  int64_t elapsed_us = 0;
};

// A place that looks like something we fuse but was not, and why. Shown by explain.
struct NearMiss {
  std::string node;
  std::string what;
};

struct PassOptions {
  int64_t folded_bytes_max = int64_t{64} << 20;  // larger results of constant folding stay nodes
  int rounds_max = 8;                            // of the cleaning passes, until nothing changes
  bool fuse = true;                              // false: cleaning only
  WeightChoice weights;                          // CompileOptions::weights, resolved
  int64_t length_max = 0;  // of a sequence, from BoundLength; 0: no ragged form is looked for
};

// Shared by the passes of one graph.
struct PassContext {
  Graph& graph;
  const PassOptions& options;
  std::vector<NearMiss>& near_misses;
  RaggedGraph& ragged;

  void Miss(const Node& node, std::string what);
};

// Returns how many changes it made. New nodes are typed by the pass (InferNode).
using PassFunction = base::Result<int64_t> (*)(PassContext&);
struct Pass {
  std::string_view name;
  PassFunction run = nullptr;
};

base::Result<int64_t> FoldConstants(PassContext& context);
base::Result<int64_t> InlineBranches(PassContext& context);
base::Result<int64_t> RemoveIdentities(PassContext& context);
base::Result<int64_t> MergeDuplicates(PassContext& context);
base::Result<int64_t> RemoveDeadNodes(PassContext& context);
base::Result<int64_t> MergeViews(PassContext& context);
base::Result<int64_t> Canonicalize(PassContext& context);
base::Result<int64_t> RecognizeBagLoop(PassContext& context);
base::Result<int64_t> RecognizeLayerNorm(PassContext& context);
base::Result<int64_t> RecognizeGelu(PassContext& context);
base::Result<int64_t> RecognizeAttention(PassContext& context);
base::Result<int64_t> RecognizeRotary(PassContext& context);
base::Result<int64_t> RecognizeInteraction(PassContext& context);
base::Result<int64_t> FuseLookups(PassContext& context);
base::Result<int64_t> FoldBatchNorm(PassContext& context);
base::Result<int64_t> FormConv(PassContext& context);
base::Result<int64_t> FormRecurrent(PassContext& context);
base::Result<int64_t> ImportQuantized(PassContext& context);
base::Result<int64_t> FormLinear(PassContext& context);
base::Result<int64_t> AbsorbQuantized(PassContext& context);
base::Result<int64_t> MergeLinear(PassContext& context);
base::Result<int64_t> FuseEpilogues(PassContext& context);
base::Result<int64_t> FuseRowMlp(PassContext& context);
base::Result<int64_t> FuseCross(PassContext& context);
base::Result<int64_t> FuseNorm(PassContext& context);
// Leaves the graph as it is and its form over packed rows, or why there is none, in the context.
base::Result<int64_t> PropagateRagged(PassContext& context);
base::Result<int64_t> FuseElementwise(PassContext& context);
base::Result<int64_t> ChooseWeights(PassContext& context);

struct PassResult {
  std::vector<PassReport> reports;
  std::vector<NearMiss> near_misses;
  RaggedGraph ragged;  // of a graph with a mask that tells padding
};

// All of the above in order. kInternal, naming the pass, when a pass leaves the graph in disorder.
base::Result<PassResult> RunPasses(Graph& graph, const PassOptions& options);

}  // namespace sluice::graph
