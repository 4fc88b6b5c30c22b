#include "infer/ragged_plans.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "infer/plan_family.h"
#include "tensor/align.h"

namespace sluice::infer {
namespace {

constexpr int64_t kFirstSize = 8;
constexpr int64_t kSequencesMax = 256;  // of one run

}  // namespace

RaggedPlans::~RaggedPlans() {
  for (auto& plan : plans_) delete plan.load(std::memory_order_acquire);
}

size_t RaggedPlans::Index(int64_t size) {
  if (size <= kExact) return static_cast<size_t>(std::max<int64_t>(size, 1)) - 1;
  const int octave = 63 - std::countl_zero(static_cast<uint64_t>(size - 1));  // 2^octave < size
  const int64_t step = int64_t{1} << (octave - 5);
  const int64_t within = (size - (int64_t{1} << octave) + step - 1) / step;  // 1 to 32
  return std::min<size_t>(kSizes - 1, static_cast<size_t>(kExact + (octave - 6) * 32 + within - 1));
}

int64_t RaggedPlans::SizeAt(size_t index) {
  if (index < kExact) return static_cast<int64_t>(index) + 1;
  const int64_t at = static_cast<int64_t>(index) - kExact;
  const int64_t octave = int64_t{1} << (at / 32 + 6);
  return octave + octave / 32 * (at % 32 + 1);
}

int64_t RaggedPlans::SizeFor(int64_t rows) {
  return SizeAt(Index(rows));
}

int64_t RaggedPlans::SequencesFor(int64_t size) {
  return std::clamp<int64_t>(size / 2, 1, kSequencesMax);
}

RaggedPlans::Choice RaggedPlans::Choose(int64_t rows, int64_t sequences) const {
  for (size_t index = Index(rows); index < kSizes; ++index) {
    const graph::Plan* plan = plans_[index].load(std::memory_order_acquire);
    if (plan == nullptr || SequencesFor(SizeAt(index)) < sequences) continue;
    return {plan, SizeAt(index)};
  }
  return {};
}

int64_t RaggedPlans::Want(int64_t rows, int64_t sequences) {
  const int64_t size = SizeFor(std::max(rows, std::min(2 * sequences, rows_max_)));
  const size_t index = Index(size);
  if (size > rows_max_ || plans_[index].load(std::memory_order_relaxed) != nullptr) return 0;
  const uint8_t times = wanted_[index].load(std::memory_order_relaxed);
  if (times >= 2) return 0;  // asked already
  wanted_[index].store(static_cast<uint8_t>(times + 1), std::memory_order_relaxed);
  return times == 1 ? size : 0;
}

bool RaggedPlans::Keep(int64_t size, std::unique_ptr<const graph::Plan> plan) {
  const int64_t bytes = PlanBytes(*plan);
  const graph::Plan* none = nullptr;
  if (!plans_[Index(size)].compare_exchange_strong(none, plan.get(), std::memory_order_acq_rel)) {
    return false;
  }
  (void)plan.release();
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return true;
}

void RaggedPlans::AddPlan(int64_t size) {
  size = SizeFor(size);
  if (size > rows_max_ || plans_[Index(size)].load(std::memory_order_acquire) != nullptr) return;
  base::Result<std::unique_ptr<const graph::Plan>> plan =
      model_.NewRaggedPlan(size, SequencesFor(size));
  if (plan.ok() && RunBytes(**plan) <= memory_bytes_) (void)Keep(size, std::move(plan).value());
}

base::Result<std::unique_ptr<RaggedPlans>> RaggedPlans::Create(const graph::Model& model,
                                                               int64_t memory_bytes) {
  std::unique_ptr<RaggedPlans> plans(new RaggedPlans(model));
  plans->memory_bytes_ = memory_bytes;
  const int64_t longest = std::max(kPartRows, model.ragged()->length_max);
  for (int64_t size = kFirstSize; size <= kRowsMax; size *= 2) {
    std::unique_ptr<const graph::Plan> plan = TRY(model.NewRaggedPlan(size, SequencesFor(size)));
    if (plans->RunBytes(*plan) > memory_bytes) break;
    (void)plans->Keep(size, std::move(plan));
    plans->rows_max_ = size;
    if (size >= longest) break;
  }
  if (plans->rows_max_ == 0) return std::unique_ptr<RaggedPlans>();
  plans->LearnCosts();
  return plans;
}

void RaggedPlans::LearnCosts() {
  const graph::Plan& plan = *Choose(rows_max_, 1).plan;
  double attention = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.infos[i].kind == "attention")
      attention += static_cast<double>(plan.steps[i].predicted_ns);
  }
  const double rows = static_cast<double>(rows_max_);
  const double seen = std::max(1.0, rows / static_cast<double>(SequencesFor(rows_max_)));
  row_ns_ = std::max(1.0, (plan.predicted_ns - attention) / rows);
  pair_rows_ = attention / (rows * seen) / row_ns_;
}

int64_t RaggedPlans::Units(std::span<const int32_t> lengths) const {
  double units = 0;
  for (const int32_t length : lengths) {
    const double rows = static_cast<double>(length);
    units += rows + rows * rows * pair_rows_;
  }
  return static_cast<int64_t>(std::ceil(units));
}

int64_t RaggedPlans::RunBytes(const graph::Plan& plan) const {
  const graph::RaggedForm& form = *model_.ragged();
  int64_t bytes = tensor::AlignUp(plan.memory_bytes);
  for (size_t i = 0; i < plan.input_shapes.size(); ++i) {
    const graph::RaggedForm::Input& input = form.inputs[i];
    const int64_t size =
        input.index < 0
            ? 8
            : tensor::DTypeSize(model_.inputs()[static_cast<size_t>(input.index)].dtype);
    bytes += tensor::AlignUp(plan.input_shapes[i].elements() * size);
  }
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    bytes += tensor::AlignUp(plan.output_shapes[i].elements() *
                             tensor::DTypeSize(model_.outputs()[i].dtype));
  }
  return bytes;
}

}  // namespace sluice::infer
