// Embedding look-ups: many tables in one step, each look-up writing where a concatenation wants it.
#include <algorithm>
#include <cstddef>
#include <memory>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/embedding_bag.h"

namespace sluice::graph {
namespace {

using kernels::Lookup;
using kernels::LookupPlace;
using kernels::LookupsArgs;
using tensor::DType;
using tensor::Shape;

// What a step's look-ups are and how messages call them, kept with the plan.
struct LookupList {
  std::vector<Lookup> lookups;
  std::vector<std::string> names;  // two a look-up: its ids, its offsets
};

// Only the first bases are part of a step's block, as many as it uses: they come last.
struct LookupsBlock {
  RunState* state = nullptr;
  const LookupList* list = nullptr;
  LookupsArgs args;
};

void RunLookups(const void* block, kernels::Tiles tiles) {
  const auto& step = *static_cast<const LookupsBlock*>(block);
  const kernels::LookupFault fault = kernels::Lookups(step.args, tiles);
  if (fault.lookup < 0 || !step.state->Claim()) return;
  step.state->position = fault.position;
  step.state->value = fault.value;
  step.state->extent = fault.extent;
  step.state->what =
      step.list->names[static_cast<size_t>(2 * fault.lookup + (fault.offset ? 1 : 0))].c_str();
}

// One step under construction: look-ups of as many rows each.
class LookupsStep {
 public:
  LookupsStep(Lowering& lowering, const Node& node, int64_t rows)
      : lowering_(lowering), node_(node), rows_(rows), list_(std::make_shared<LookupList>()) {}

  int64_t rows() const { return rows_; }
  // Whether a look-up of at most four operands still has room.
  bool HasRoom() const { return bases_.size() + 4 <= kernels::kLookupBases; }

  void Add(size_t i, const Place& y) {
    const Value* table = node_.input(4 * i);
    const Value* ids = node_.input(4 * i + 1);
    const Value* offsets = node_.input(4 * i + 2);
    const Value* weights = node_.input(4 * i + 3);
    const int64_t mode = node_.Ints("modes")[i];
    Lookup lookup;
    const Shape& table_shape = lowering_.shape(table);
    lookup.table = {table->constant->buffer.data(), table->dtype, table_shape[0], table_shape[1]};
    lookup.wide_ids = ids->dtype == DType::kI64;
    lookup.mean = mode == 2;
    const int64_t id_count = lowering_.shape(ids).elements();
    lookup.bag_size = mode == 0 || rows_ == 0 ? 1 : id_count / rows_;
    const Shape bags =
        offsets == nullptr ? Shape({rows_, lookup.bag_size}) : Shape({int64_t{1}, id_count});
    const Place at = lowering_.ReshapedPlace(ids, bags);
    lookup.ids = Find(at.ref);
    lookup.ids_bag = at.strides[0];
    lookup.ids_step = at.strides[1];
    if (offsets != nullptr) {
      lookup.offsets = Find(lowering_.Packed(offsets));
      lookup.id_count = id_count;
      lookup.closed = node_.Ints("closed")[i] != 0;
    }
    if (weights != nullptr) {
      const Place weights_at = lowering_.ReshapedPlace(weights, bags);
      lookup.weights = Find(weights_at.ref);
      lookup.weights_bag = weights_at.strides[0];
      lookup.weights_step = weights_at.strides[1];
    }
    lookup.y = Find(y.ref);
    lookup.y_stride = y.strides[0];
    const std::span<const int64_t> outputs = node_.Ints("outputs");
    const auto before = outputs.first(i);
    lookup.accumulates = std::find(before.begin(), before.end(), outputs[i]) != before.end();
    list_->lookups.push_back(lookup);
    indices_.push_back(static_cast<int32_t>(i));
    list_->names.push_back("in '" + table->name + "', id");
    list_->names.push_back("in '" + table->name + "', offset");
  }

  void Finish() {
    if (list_->lookups.empty()) return;
    LookupsBlock block;
    block.list = list_.get();
    block.args.lookups = list_->lookups.data();
    block.args.count = static_cast<int64_t>(list_->lookups.size());
    block.args.rows = rows_;
    constexpr size_t kBases = offsetof(LookupsBlock, args) + offsetof(LookupsArgs, bases);
    std::vector<PointerField> pointers;
    pointers.push_back({offsetof(LookupsBlock, state), {lowering_.builder().state_buffer(), 0}});
    for (size_t i = 0; i < bases_.size(); ++i)
      pointers.push_back({kBases + i * sizeof(void*), {bases_[i], 0}});
    StepInfo info = lowering_.Info(node_, "look-ups");
    info.detail = std::to_string(block.args.count) + " tables, " + std::to_string(rows_) + " rows";
    info.lookups = indices_;
    StepSpec spec{.run = RunLookups,
                  .tiles = kernels::LookupsTiles(block.args),
                  .work = kernels::LookupsWork(block.args),
                  .checks_data = true,
                  .info = std::move(info)};
    const auto bytes = std::as_bytes(std::span(&block, 1));
    lowering_.builder().AddBlock(std::move(spec),
                                 bytes.first(kBases + bases_.size() * sizeof(void*)), pointers);
    lowering_.Keep(std::move(list_));
  }

 private:
  LookupPlace Find(const Ref& ref) {
    auto found = std::find(bases_.begin(), bases_.end(), ref.buffer);
    if (found == bases_.end()) found = bases_.insert(bases_.end(), ref.buffer);
    return {static_cast<int32_t>(found - bases_.begin()), ref.offset};
  }

  Lowering& lowering_;
  const Node& node_;
  const int64_t rows_;
  std::shared_ptr<LookupList> list_;
  std::vector<int32_t> bases_;    // buffers
  std::vector<int32_t> indices_;  // of the look-ups within the node
};

base::Result<bool> LowerLookups(Lowering& lowering, const Node& node) {
  std::vector<Place> places;
  std::vector<int64_t> rows;
  for (const Value* output : node.outputs) {
    const Shape& shape = lowering.shape(output);
    const int64_t columns = shape[shape.rank() - 1];
    Place place;
    place.strides[0] = columns;
    if (const Place* target = lowering.Target(output)) {
      place = *target;
      if (shape.elements() > 0) lowering.AliasRows(output, *target, columns);
    } else {
      place.ref = lowering.Define(output);
    }
    places.push_back(place);
    rows.push_back(shape.elements(0, shape.rank() - 1));
  }
  // Steps run in the order of their look-ups, which those that add up need.
  std::vector<std::unique_ptr<LookupsStep>> steps;
  const std::span<const int64_t> outputs = node.Ints("outputs");
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto output = static_cast<size_t>(outputs[i]);
    if (lowering.shape(node.outputs[output]).elements() == 0) continue;
    const auto found = std::find_if(
        steps.begin(), steps.end(),
        [&](const std::unique_ptr<LookupsStep>& step) { return step->rows() == rows[output]; });
    std::unique_ptr<LookupsStep>& step = found == steps.end() ? steps.emplace_back() : *found;
    if (step != nullptr && !step->HasRoom()) {
      step->Finish();
      step = nullptr;
    }
    if (step == nullptr) step = std::make_unique<LookupsStep>(lowering, node, rows[output]);
    step->Add(i, places[output]);
  }
  for (const std::unique_ptr<LookupsStep>& step : steps) step->Finish();
  return true;
}

}  // namespace

std::span<const LoweringRule> LookupRules() {
  static constexpr LoweringRule kRules[] = {{"FusedLookups", ~0u, LowerLookups}};
  return kRules;
}

}  // namespace sluice::graph
