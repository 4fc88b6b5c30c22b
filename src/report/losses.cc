#include "report/losses.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/target.h"

namespace sluice::report {
namespace {

// A step below this is dominated by calling it.
constexpr double kSmallUs = 0.5;
// From here on a product does not gain by more rows.
constexpr int64_t kManyRows = 32;
// Losses below this share of the run are not worth a line.
constexpr double kLeastShare = 0.002;

bool Begins(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

bool IsProduct(std::string_view kind) {
  return Begins(kind, "linear") || Begins(kind, "matmul");
}
// Kinds whose work could be part of the step before them.
bool CouldFollow(std::string_view kind) {
  for (const std::string_view each :
       {"elementwise", "integers", "layer_norm", "rms_norm", "reduce", "softmax", "log_softmax",
        "concat", "copy", "second order", "pair dots", "prepare rows", "pool"}) {
    if (kind == each) return true;
  }
  return false;
}

int64_t LaneCount() {
  return kernels::ActiveTarget() == kernels::Target::kAvx512 ? 32 : 16;
}

// Columns of a product, from its packed weight; 0 where it has none.
int64_t Columns(const graph::StepInfo& info) {
  if (info.node == nullptr || !Begins(info.kind, "linear")) return 0;
  const graph::Value* output = info.node->output();
  if (output == nullptr || !output->shape.has_value() || output->shape->empty()) return 0;
  const graph::Dim& last = output->shape->back();
  return last.is_constant() ? last.constant() : 0;
}

// Rows of a step's output; 0 where that is not known.
int64_t Rows(const graph::StepInfo& info) {
  if (info.node == nullptr || info.node->output() == nullptr) return 0;
  const graph::Value* output = info.node->output();
  if (!output->shape.has_value()) return 0;
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < output->shape->size(); ++axis) {
    const graph::Dim& dim = (*output->shape)[axis];
    rows *= dim.is_constant() ? dim.constant() : 0;
  }
  return rows;
}

std::string Kibibytes(int64_t bytes) {
  char text[32];
  const double value = static_cast<double>(bytes);
  if (bytes >= 10 << 20) {
    std::snprintf(text, sizeof text, "%.0f MiB", value / (1 << 20));
  } else if (bytes >= 1 << 20) {
    std::snprintf(text, sizeof text, "%.1f MiB", value / (1 << 20));
  } else {
    std::snprintf(text, sizeof text, "%.1f KiB", value / (1 << 10));
  }
  return text;
}

std::string Percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}

// One entry of the list while it grows.
struct Growing {
  Loss loss;
  int64_t bytes = 0;  // unfused
  double us = 0;      // of the steps
  double roof_us = 0;
};

std::string Times(size_t count) {
  return count == 1 ? "" : ", " + std::to_string(count) + " steps";
}

std::string KeyOf(const LossContext& context, const std::vector<StepRow>& steps, size_t i,
                  Cause cause) {
  const StepRow& step = steps[i];
  std::string key = std::to_string(static_cast<int>(cause)) + "|";
  switch (cause) {
    case Cause::kUnfused: {
      const int producer = (*context.flows)[i].producer;
      return key + step.kind + "|" +
             (producer < 0 ? "" : steps[static_cast<size_t>(producer)].kind);
    }
    case Cause::kPadding:
    case Cause::kFixed:
      return key;
    case Cause::kNarrow:
      return key + std::to_string(Columns(context.plan->infos[i]));
    case Cause::kGather:
      return key + (*context.flows)[i].tables.front().table->name;
    case Cause::kReference:
    case Cause::kKernel:
    case Cause::kAlone:
      return key + step.kind;
  }
  return key;
}

int64_t TableBytes(const StepFlow& flow) {
  int64_t bytes = 0;
  for (const TableRead& read : flow.tables) bytes += read.bytes();
  return bytes;
}

void TellGather(const LossContext& context, const StepRow& step, const StepFlow& flow, Loss& loss) {
  int64_t rows = 0;
  for (const TableRead& read : flow.tables) rows += read.look_ups;
  char text[96];
  std::snprintf(text, sizeof text, "%lld rows, %.1f ns each", static_cast<long long>(rows),
                1e3 * step.us / static_cast<double>(std::max<int64_t>(rows, 1)));
  loss.what = "look-ups in '" + flow.tables.front().table->name + "'";
  if (flow.tables.size() > 1) {
    loss.what += " and " + std::to_string(flow.tables.size() - 1) + " more tables";
  }
  loss.what +=
      " (" + Kibibytes(TableBytes(flow)) + "), reads at random: " + text + Times(loss.steps.size());
  const bool far = TableBytes(flow) > context.roofs->levels.front().bytes;
  loss.remedy = far ? "a smaller element type or fewer rows: what fits the cache costs a tenth"
                    : "fewer rows, or wider ones: what costs is a row, not its bytes";
}

void TellUnfused(const LossContext& context, const std::vector<StepRow>& steps,
                 const Growing& growing, Loss& loss) {
  const size_t first = static_cast<size_t>(loss.steps.front());
  const int producer = (*context.flows)[first].producer;
  const StepRow& step = steps[first];
  if (step.kind == "copy") {
    loss.what = "'" + step.label + "' is copied to be packed: " + step.unfused_why;
  } else if (producer >= 0) {
    loss.what = step.kind + " '" + step.label + "' reads what " +
                steps[static_cast<size_t>(producer)].kind + " has just written";
    if (!step.unfused_why.empty()) loss.what += " (" + step.unfused_why + ")";
  }
  loss.what += ": " + Kibibytes(growing.bytes) + Times(loss.steps.size());
  const bool shared = step.unfused_why.find("also read by") != std::string::npos;
  const bool missed = step.unfused_why.find("not fused") != std::string::npos;
  loss.remedy = missed   ? "write it in a form that is recognised: 'not fused' names the obstacle"
                : shared ? "let one node read the value, or move the other readers behind this one"
                         : "none in the model: the engine has no fused kernel for this pair yet";
}

void TellKernel(const graph::StepInfo& info, const std::vector<StepRow>& steps,
                const Growing& growing, Loss& loss) {
  const StepRow& step = steps[static_cast<size_t>(loss.steps.front())];
  const double share = growing.us > 0 ? growing.roof_us / growing.us : 0;
  loss.what = step.kind + " '" + step.label + "' at " + Percent(share) + " of the roof (bound by " +
              std::string(step.bound) + ")" + Times(loss.steps.size());
  const int64_t rows = Rows(info);
  if (IsProduct(step.kind) && (step.bound == "memory" || (rows > 0 && rows < kManyRows))) {
    loss.remedy = "more rows a step (" + std::to_string(rows) +
                  " here): weights are read once for all of them";
  } else if (step.kind == "linear") {
    loss.remedy = "bf16 or int8 weights raise the roof itself; fewer columns lower the work";
  } else {
    loss.remedy = "none in the model: the kernel has room";
  }
}

void Tell(const LossContext& context, const std::vector<StepRow>& steps, const Growing& growing,
          Loss& loss) {
  const size_t first = static_cast<size_t>(loss.steps.front());
  const StepRow& step = steps[first];
  const StepFlow& flow = (*context.flows)[first];
  switch (loss.cause) {
    case Cause::kUnfused:
      return TellUnfused(context, steps, growing, loss);
    case Cause::kKernel:
      return TellKernel(context.plan->infos[first], steps, growing, loss);
    case Cause::kPadding: {
      char text[96];
      std::snprintf(text, sizeof text, "sequences padded to %lld, %.0f on average",
                    static_cast<long long>(context.length), context.mean_length);
      loss.what = text + Times(loss.steps.size());
      loss.remedy = "group requests of like length, or send each sequence unpadded";
      return;
    }
    case Cause::kNarrow: {
      const int64_t columns = Columns(context.plan->infos[first]);
      const int64_t lanes = LaneCount();
      const int64_t padded = (columns + lanes - 1) / lanes * lanes;
      loss.what = "product with N=" + std::to_string(columns) + " '" + step.label + "' computes " +
                  std::to_string(padded) + " columns" + Times(loss.steps.size());
      loss.remedy = "make N a multiple of " + std::to_string(lanes) +
                    ", or join layers that read the same rows into one";
      return;
    }
    case Cause::kReference:
      loss.what = "reference kernel: op " +
                  step.kind.substr(std::min<size_t>(10, step.kind.size())) + " '" + step.label +
                  "'" + Times(loss.steps.size());
      loss.remedy = "express it in ops with a vector kernel (MatMul, Gemm, elementwise, norms)";
      return;
    case Cause::kGather:
      return TellGather(context, step, flow, loss);
    case Cause::kFixed:
      loss.what = "fixed cost of " + std::to_string(loss.steps.size()) +
                  " small steps, the largest '" + step.label + "'";
      loss.remedy = "more rows a step: the cost is paid once a step, whatever its rows";
      return;
    case Cause::kAlone:
      return;
  }
}

}  // namespace

std::string_view CauseName(Cause cause) {
  switch (cause) {
    case Cause::kUnfused:
      return "unfused";
    case Cause::kPadding:
      return "padding";
    case Cause::kNarrow:
      return "narrow";
    case Cause::kReference:
      return "reference";
    case Cause::kGather:
      return "look_ups";
    case Cause::kFixed:
      return "fixed_cost";
    case Cause::kKernel:
      return "kernel";
    case Cause::kAlone:
      return "alone";
  }
  return "";
}

std::string_view CauseTitle(Cause cause) {
  switch (cause) {
    case Cause::kUnfused:
      return "unfused traffic";
    case Cause::kPadding:
      return "sequence padding";
    case Cause::kNarrow:
      return "padded columns";
    case Cause::kReference:
      return "reference kernels";
    case Cause::kGather:
      return "random look-ups";
    case Cause::kFixed:
      return "fixed cost of steps";
    case Cause::kKernel:
      return "kernels below the roof";
    case Cause::kAlone:
      return "requests not joined";
  }
  return "";
}

void FindUnfused(const graph::Plan& plan, const std::vector<StepFlow>& flows,
                 const std::vector<graph::NearMiss>& near_misses, std::vector<StepRow>& steps) {
  std::map<std::string_view, std::string_view> missed;
  for (const graph::NearMiss& miss : near_misses) missed.emplace(miss.node, miss.what);
  for (size_t i = 0; i < steps.size(); ++i) {
    StepRow& step = steps[i];
    const StepFlow& flow = flows[i];
    if (step.kind == "copy") {
      step.unfused_bytes = step.bytes;
      step.unfused_why = "its reader takes packed rows only";
      continue;
    }
    if (flow.producer < 0 || plan.infos[i].node == nullptr) continue;
    const size_t from = static_cast<size_t>(flow.producer);
    const StepRow& producer = steps[from];
    const bool after_softmax = step.kind == "matmul" && producer.kind == "softmax";
    if (!CouldFollow(step.kind) && !after_softmax) continue;
    // A node's steps count as one reader: what prepares its rows and what multiplies them.
    std::vector<int> others;
    for (const int reader : flows[from].readers) {
      if (plan.infos[static_cast<size_t>(reader)].node != plan.infos[i].node) {
        others.push_back(reader);
      }
    }
    const bool only_reader = others.empty() && !flows[from].is_output;
    const int64_t read = std::min(flow.read_bytes, step.bytes);
    step.unfused_bytes = only_reader ? 2 * read : read;
    // The bytes of a concatenation's other steps are theirs.
    step.unfused_bytes = std::min(step.unfused_bytes, 2 * step.bytes);
    const auto own = missed.find(step.label);
    const auto theirs = missed.find(producer.label);
    if (own != missed.end()) {
      step.unfused_why = "not fused: " + std::string(own->second);
    } else if (theirs != missed.end()) {
      step.unfused_why = "not fused: " + std::string(theirs->second);
    } else if (producer.reference) {
      step.unfused_why = "'" + producer.label + "' runs on a reference kernel";
    } else if (!others.empty()) {
      step.unfused_why = "also read by '" + steps[static_cast<size_t>(others.front())].label + "'";
    } else if (!only_reader) {
      step.unfused_why = "also an output of the model";
    }
  }
}

void DivideTime(const LossContext& context, size_t index, StepRow& step) {
  const StepFlow& flow = (*context.flows)[index];
  double left = step.us;
  double roof = std::min(step.roof_us, step.us);
  const auto lose = [&](Cause cause, double us) {
    us = std::clamp(us, 0.0, left);
    step.lost_us[static_cast<int>(cause)] += us;
    left -= us;
  };
  if (step.unfused_bytes > 0 && !step.reference) {
    const double saved = static_cast<double>(step.unfused_bytes) /
                         context.roofs->LevelOf(step.bytes / 2).gbytes / 1e3;
    // What is left of the step must still do its arithmetic.
    const double arithmetic = static_cast<double>(step.flops) / step.peak_gflops / 1e3;
    lose(Cause::kUnfused, std::min(saved, std::max(0.0, step.us - arithmetic)));
    roof = std::min(std::max(arithmetic, roof - saved), left);
  }
  if (context.padding > 0 && flow.has_length) {
    lose(Cause::kPadding, left * context.padding);
    roof *= 1 - context.padding;
  }
  if (step.reference) {
    lose(Cause::kReference, left - roof);
    return;
  }
  const int64_t columns = Columns(context.plan->infos[index]);
  const int64_t lanes = LaneCount();
  // A single column has products of its own.
  if (columns > 1 && columns % lanes != 0) {
    const double padded = static_cast<double>((columns + lanes - 1) / lanes * lanes);
    const double arithmetic = static_cast<double>(step.flops) / step.peak_gflops / 1e3 * padded /
                              static_cast<double>(columns);
    lose(Cause::kNarrow, std::min(arithmetic - roof, left - roof));
  }
  const Cause rest = step.us < kSmallUs     ? Cause::kFixed
                     : !flow.tables.empty() ? Cause::kGather
                                            : Cause::kKernel;
  lose(rest, left - roof);
}

std::vector<Loss> GatherLosses(const LossContext& context, const std::vector<StepRow>& steps) {
  std::map<std::string, Growing> by_key;
  double total = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    total += steps[i].us;
    for (int c = 0; c < kCauseCount; ++c) {
      const double us = steps[i].lost_us[c];
      if (us <= 0) continue;
      const Cause cause = static_cast<Cause>(c);
      Growing& growing = by_key[KeyOf(context, steps, i, cause)];
      growing.loss.cause = cause;
      growing.loss.us += us;
      growing.us += steps[i].us;
      growing.roof_us += steps[i].roof_us;
      growing.bytes += steps[i].unfused_bytes;
      growing.loss.steps.push_back(static_cast<int>(i));
    }
  }
  std::vector<Loss> losses;
  for (auto& [key, growing] : by_key) {
    if (growing.loss.us < kLeastShare * total) continue;
    const int cause = static_cast<int>(growing.loss.cause);
    // The step that loses most stands for the others.
    std::stable_sort(growing.loss.steps.begin(), growing.loss.steps.end(), [&](int a, int b) {
      return steps[static_cast<size_t>(a)].lost_us[cause] >
             steps[static_cast<size_t>(b)].lost_us[cause];
    });
    Tell(context, steps, growing, growing.loss);
    losses.push_back(std::move(growing.loss));
  }
  std::stable_sort(losses.begin(), losses.end(),
                   [](const Loss& a, const Loss& b) { return a.us > b.us; });
  return losses;
}

}  // namespace sluice::report
