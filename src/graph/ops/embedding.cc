// Bags of embedding rows cut by offsets: what the loops that exporters write for nn.EmbeddingBag
// are recognised as. Ours, never accepted from a file.
#include <string>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/ranking.h"

namespace sluice::graph {
namespace {

// EmbeddingBag(table [N, D], ids [K], offsets [B] or, "closed", [B + 1], weights [K]?) -> [B, D]:
// the sum, or with "mean" the mean, of the rows that ids [offsets[b], offsets[b + 1]) name, each
// times its weight. Without "closed" the last bag goes to the end. An empty bag is 0.
base::Status InferEmbeddingBag(InferContext& context) {
  const SymShape* table = context.shape(0);
  const SymShape* ids = context.shape(1);
  const SymShape* offsets = context.shape(2);
  if (table == nullptr || ids == nullptr || offsets == nullptr || table->size() != 2 ||
      ids->size() != 1 || offsets->size() != 1)
    return context.Fail("needs a matrix and two vectors");
  Dim bags = (*offsets)[0];
  if (context.node().Int("closed", 0) != 0) bags = context.symbols().Sub(bags, Dim(1));
  context.SetOutput(0, DType::kF32, SymShape{bags, (*table)[1]});
  return base::Ok();
}

base::Status RunEmbeddingBag(RunContext& context) {
  const tensor::ConstView& table = context.input(0);
  const tensor::ConstView& ids = context.input(1);
  const tensor::ConstView& offsets = context.input(2);
  const bool closed = context.node().Int("closed", 0) != 0;
  const int64_t bags = offsets.shape[0] - (closed ? 1 : 0);
  if (bags < 0) return context.Fail("its offsets are empty");
  if (context.has_input(3) && context.input(3).shape != ids.shape)
    return context.Fail("there are not as many weights as ids");
  const tensor::View y = TRY(context.Output(0, DType::kF32, tensor::Shape({bags, table.shape[1]})));
  kernels::Lookup lookup;
  lookup.table = {table.data, table.dtype, table.shape[0], table.shape[1]};
  lookup.ids.base = 0;
  lookup.offsets.base = 1;
  if (context.has_input(3)) lookup.weights.base = 3;
  lookup.y.base = 2;
  lookup.y_stride = table.shape[1];
  lookup.id_count = ids.shape[0];
  lookup.closed = closed;
  lookup.wide_ids = ids.dtype == DType::kI64;
  lookup.mean = context.node().Int("mean", 0) != 0;
  kernels::LookupsArgs args;
  args.lookups = &lookup;
  args.count = 1;
  args.rows = bags;
  args.bases[0] = const_cast<void*>(ids.data);
  args.bases[1] = const_cast<void*>(offsets.data);
  args.bases[2] = y.data;
  if (context.has_input(3)) args.bases[3] = const_cast<void*>(context.input(3).data);
  const kernels::LookupFault fault = kernels::ref::Lookups(args);
  if (fault.lookup < 0) return base::Ok();
  return context.Fail(std::string(fault.offset ? "offset " : "id ") + std::to_string(fault.value) +
                      " at position " + std::to_string(fault.position) + " is outside [0, " +
                      std::to_string(fault.extent) + ")");
}

constexpr OpDef kEmbeddingOps[] = {
    {"EmbeddingBag", 1, 3, 4, 1, 1, kNoTraits, InferEmbeddingBag, RunEmbeddingBag, kOurDomain},
};

}  // namespace

std::span<const OpDef> EmbeddingOps() {
  return kEmbeddingOps;
}

}  // namespace sluice::graph
