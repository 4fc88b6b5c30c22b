// The order of the passes, and what surrounds each: timing, counting, verifying.
#include <array>

#include "base/clock.h"
#include "graph/op.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Run again and again until nothing changes: what one removes uncovers work for the others.
constexpr std::array kCleaning = {
    Pass{"fold_constants", FoldConstants},
    Pass{"inline_branches", InlineBranches},
    Pass{"remove_identities", RemoveIdentities},
    Pass{"merge_views", MergeViews},
    Pass{"canonicalize", Canonicalize},
    Pass{"merge_duplicates", MergeDuplicates},
    Pass{"remove_dead_nodes", RemoveDeadNodes},
    Pass{"recognize_bag_loop", RecognizeBagLoop},
};
// Run once, in this order: recognisers of whole formulas first, since later passes eat their parts.
constexpr std::array kFusing = {
    Pass{"recognize_layer_norm", RecognizeLayerNorm},
    Pass{"recognize_gelu", RecognizeGelu},
    Pass{"recognize_rotary", RecognizeRotary},
    Pass{"recognize_attention", RecognizeAttention},
    Pass{"recognize_interaction", RecognizeInteraction},
    Pass{"fold_batch_norm", FoldBatchNorm},
    Pass{"form_conv", FormConv},
    Pass{"form_recurrent", FormRecurrent},
    Pass{"import_quantized", ImportQuantized},
    Pass{"form_linear", FormLinear},
    Pass{"absorb_quantized", AbsorbQuantized},
    Pass{"fuse_epilogues", FuseEpilogues},
    Pass{"merge_linear", MergeLinear},
    Pass{"fuse_row_mlp", FuseRowMlp},
    Pass{"fuse_norm", FuseNorm},
    Pass{"choose_weights", ChooseWeights},
    Pass{"propagate_ragged", PropagateRagged},
    Pass{"fuse_cross", FuseCross},
    Pass{"fuse_lookups", FuseLookups},
    Pass{"fuse_elementwise", FuseElementwise},
};
constexpr size_t kNearMissesMax = 64;

base::Result<int64_t> RunOne(const Pass& pass, PassContext& context, PassReport& report) {
  const base::Time start = base::SystemClock::Get().Now();
  base::Result<int64_t> changes = pass.run(context);
  if (!changes.ok()) return std::move(changes).error();
  base::Status verified = Verify(context.graph);
  if (!verified.ok()) {
    return base::Internal("after pass " + std::string(pass.name) + ": " + verified.error().message);
  }
  report.name = pass.name;
  report.changes += *changes;
  report.elapsed_us += (base::SystemClock::Get().Now() - start).ns / 1000;
  return *changes;
}

}  // namespace

void PassContext::Miss(const Node& node, std::string what) {
  if (near_misses.size() >= kNearMissesMax) return;
  const std::string& name =
      node.name.empty() && node.output() != nullptr ? node.output()->name : node.name;
  near_misses.push_back({name, std::move(what)});
}

base::Result<PassResult> RunPasses(Graph& graph, const PassOptions& options) {
  PassResult result;
  PassContext context{graph, options, result.near_misses, result.ragged};
  const auto clean = [&](PassContext& of) -> base::Status {
    for (int round = 0; round < options.rounds_max; ++round) {
      int64_t changes = 0;
      for (size_t i = 0; i < kCleaning.size(); ++i) {
        changes += TRY(RunOne(kCleaning[i], of, result.reports[i]));
      }
      if (changes == 0) break;
    }
    return base::Ok();
  };
  result.reports.resize(kCleaning.size());
  TRY(clean(context));
  if (!options.fuse) return result;
  for (const Pass& pass : kFusing) {
    PassReport report;
    (void)TRY(RunOne(pass, context, report));
    result.reports.push_back(report);
  }
  TRY(clean(context));
  if (result.ragged.graph != nullptr) {
    PassContext packed{*result.ragged.graph, options, result.near_misses, result.ragged};
    TRY(clean(packed));
    for (const Pass pass :
         {Pass{"fuse_lookups", FuseLookups}, Pass{"fuse_elementwise", FuseElementwise}}) {
      PassReport report;
      (void)TRY(RunOne(pass, packed, report));
    }
    TRY(clean(packed));
  }
  return result;
}

}  // namespace sluice::graph
