#include "bin/answer_change.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/executor.h"
#include "tensor/arena.h"

namespace sluice::bin {
namespace {

constexpr int64_t kOutputBytesMax = int64_t{1} << 32;

double Cosine(std::span<const float> x, std::span<const float> y) {
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = static_cast<double>(x[i]), b = static_cast<double>(y[i]);
    xy += a * b;
    xx += a * a;
    yy += b * b;
  }
  if (xx == 0 && yy == 0) return 1;
  const double norm = std::sqrt(xx) * std::sqrt(yy);
  // NaN and zero vectors point nowhere.
  return norm > 0 && std::isfinite(xy) ? xy / norm : 0;
}

}  // namespace

base::Result<Answers> AnswerAll(const graph::Model& model, const Calibration& calibration) {
  Answers answers;
  std::vector<size_t> floats;  // outputs that count
  for (size_t i = 0; i < model.outputs().size(); ++i) {
    if (model.outputs()[i].dtype == tensor::DType::kF32) floats.push_back(i);
  }
  if (floats.empty()) return base::Unimplemented("the model has no float output to compare");
  answers.outputs.resize(floats.size());
  answers.widths.assign(floats.size(), 0);
  for (const std::vector<tensor::Tensor>& request : calibration.requests) {
    std::vector<tensor::Shape> shapes;
    std::vector<const void*> inputs;
    for (const tensor::Tensor& input : request) {
      shapes.push_back(input.shape);
      inputs.push_back(input.buffer.data());
    }
    const auto plan = TRY(model.PlanFor(shapes));
    if (plan->interpreted) {
      return base::Unimplemented(
          "the model runs in the interpreter, whose weights stay as they are: " +
          model.interpreted_reason());
    }
    std::vector<tensor::Tensor> outputs;
    std::vector<void*> data;
    for (size_t i = 0; i < plan->output_shapes.size(); ++i) {
      outputs.push_back(TRY(tensor::Tensor::Allocate(model.outputs()[i].dtype,
                                                     plan->output_shapes[i], kOutputBytesMax)));
      data.push_back(outputs.back().buffer.mutable_data());
    }
    tensor::Arena arena = TRY(tensor::Arena::Create(plan->memory_bytes));
    graph::ExecuteArgs args;
    args.inputs = inputs;
    args.outputs = data;
    args.memory = arena.data();
    args.memory_bytes = arena.capacity();
    TRY(graph::Execute(*plan, args));
    for (size_t i = 0; i < floats.size(); ++i) {
      const tensor::Tensor& output = outputs[floats[i]];
      const auto values = output.view().span<float>();
      answers.outputs[i].insert(answers.outputs[i].end(), values.begin(), values.end());
      const int rank = output.shape.rank();
      answers.widths[i] = rank == 0 ? 1 : output.shape[rank - 1];
    }
  }
  return answers;
}

std::optional<double> AreaUnderCurve(std::span<const float> scores, std::span<const float> labels) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double ranks = 0, positives = 0;
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    double tied = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[i]]; ++end)
      tied += labels[order[end]] > 0.5f ? 1 : 0;
    if (end == i) return std::nullopt;  // a NaN has no rank
    ranks += tied * (static_cast<double>(i + end - 1) / 2 + 1);
    positives += tied;
    i = end;
  }
  const double negatives = static_cast<double>(scores.size()) - positives;
  if (positives == 0 || negatives == 0) return std::nullopt;
  return (ranks - positives * (positives + 1) / 2) / (positives * negatives);
}

AnswerChange Compare(const Answers& before, const Answers& after, std::span<const float> labels) {
  AnswerChange change;
  for (size_t i = 0; i < before.outputs.size(); ++i) {
    const std::span<const float> x = before.outputs[i], y = after.outputs[i];
    change.cosine = std::min(change.cosine, Cosine(x, y));
    const auto width = static_cast<size_t>(before.widths[i]);
    for (size_t row = 0; width > 1 && row + width <= x.size(); row += width) {
      change.cosine_row =
          std::min(change.cosine_row, Cosine(x.subspan(row, width), y.subspan(row, width)));
    }
    float largest = 0, error = 0;
    for (size_t j = 0; j < x.size(); ++j) {
      largest = std::max(largest, std::fabs(x[j]));
      // An answer that is no number differs by all that there is.
      const float distance = std::fabs(x[j] - y[j]);
      error = std::isnan(distance) ? INFINITY : std::max(error, distance);
    }
    if (largest > 0) {
      change.error_max =
          std::max(change.error_max, static_cast<double>(error) / static_cast<double>(largest));
    }
  }
  if (labels.empty() || before.outputs[0].size() < labels.size()) return change;
  const size_t width = before.outputs[0].size() / labels.size();
  std::vector<float> x, y;
  for (size_t row = 0; row < labels.size(); ++row) {
    x.push_back(before.outputs[0][row * width + width - 1]);
    y.push_back(after.outputs[0][row * width + width - 1]);
  }
  change.auc_before = AreaUnderCurve(x, labels);
  change.auc_after = AreaUnderCurve(y, labels);
  return change;
}

}  // namespace sluice::bin
