#include "report/text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <numeric>

#include "base/utf8.h"

namespace sluice::report {
namespace {

constexpr size_t kStepsShown = 12;
constexpr size_t kRowsShown = 24;  // of layers and features
constexpr int kBarColumns = 12;

[[gnu::format(printf, 2, 3)]] void Append(std::string& out, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out += text;
}

// Marks that reorder or hide what stands beside them (Unicode 15, sections 23.2 and 23.3), and the
// C1 controls.
bool IsUnsafe(char32_t rune) {
  return rune < 0x20 || (rune >= 0x7F && rune < 0xA0) || rune == 0x061C ||
         (rune >= 0x200B && rune <= 0x200F) || (rune >= 0x2028 && rune <= 0x202E) ||
         (rune >= 0x2060 && rune <= 0x206F) || rune == 0xFEFF;
}

struct Paint {
  bool on = false;
  const char* strong() const { return on ? "\x1b[1m" : ""; }
  const char* red() const { return on ? "\x1b[31m" : ""; }
  const char* yellow() const { return on ? "\x1b[33m" : ""; }
  const char* green() const { return on ? "\x1b[32m" : ""; }
  const char* faint() const { return on ? "\x1b[2m" : ""; }
  const char* off() const { return on ? "\x1b[0m" : ""; }
  const char* share(double percent) const {
    return percent >= 60 ? green() : percent >= 25 ? yellow() : red();
  }
};

// Padded on the right to `columns` code points, cut when longer.
std::string Cell(std::string_view text, size_t columns, bool keep_end = false) {
  std::string cell = Printable(text, columns, keep_end);
  size_t runes = 0;
  for (const char c : cell) runes += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  cell.append(columns - std::min(columns, runes), ' ');
  return cell;
}

void Heading(std::string& out, const Paint& paint, std::string_view text) {
  out += '\n';
  out += paint.strong();
  out += text;
  out += paint.off();
  out += '\n';
}

// Words of `text` on lines of at most `columns`, each after `indent` spaces.
void Wrap(std::string& out, std::string_view raw, size_t indent, size_t columns) {
  const std::string text = Printable(raw, 2000);
  size_t at = 0, used = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const size_t length = end - at;
    if (used > 0 && used + 1 + length > columns - indent) {
      out += '\n';
      used = 0;
    }
    if (used == 0) {
      out.append(indent, ' ');
    } else {
      out += ' ';
      ++used;
    }
    out.append(text, at, length);
    used += length;
    at = end + 1;
  }
  out += '\n';
}

std::string Interface(const graph::TensorInterface& tensor) {
  std::string text = tensor.name + " " + std::string(tensor::DTypeName(tensor.dtype)) + " [";
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += tensor.dims[i] >= 0         ? std::to_string(tensor.dims[i])
            : tensor.symbols[i].empty() ? "?"
                                        : tensor.symbols[i];
  }
  return text + "]";
}

void AppendHead(std::string& out, const Report& report, const Paint& paint) {
  out += paint.strong();
  out += Printable(report.model, 100, true);
  out += paint.off();
  out += '\n';
  Append(out, "producer  %s, opset %d\n", Printable(ProducerOf(report), 60).c_str(), report.opset);
  for (const auto& input : report.inputs) {
    out += "input     " + Printable(Interface(input), 90) + "\n";
  }
  for (const auto& output : report.outputs) {
    out += "output    " + Printable(Interface(output), 90) + "\n";
  }
  out += "batching  ";
  std::string verdict;
  Wrap(verdict, (report.joined ? "requests are joined: " : "alone: ") + report.batching, 10, 100);
  out += verdict.substr(10);
  out += "padding   ";
  std::string padding;
  Wrap(padding,
       report.packed ? "none: requests of any lengths run as packed rows"
                     : "kept: " + report.packed_reason,
       10, 100);
  out += padding.substr(10);
  if (report.interpreted) {
    out += "runs in   ";
    std::string why;
    Wrap(why, "the interpreter, which allocates: " + report.interpreted_reason, 10, 100);
    out += why.substr(10);
  }
  out += "sizes    ";
  std::string shapes;
  for (const auto& shape : report.shapes) shapes += " " + shape.ToString();
  out += Printable(shapes, 90) + "\n";
  if (report.packed_sequences > 0) out += "packed    " + PackingText(report) + "\n";
  out += "machine   " + Printable(report.machine, 90) + "\n";
  Append(out, "roofs     one core, %s: %.0f GFLOP/s f32;", report.target.c_str(),
         report.roofs.gflops);
  for (const MemoryLevel& level : report.roofs.levels) {
    Append(out, " %s %.0f", std::string(level.name).c_str(), level.gbytes);
  }
  out += " GB/s\n";
}

void AppendTotal(std::string& out, const Report& report, const Paint& paint) {
  if (report.interpreted) return;
  out += '\n';
  out += paint.strong();
  Append(out, "total     %s %s", TimeText(report.us).c_str(),
         report.measured ? "measured" : "predicted");
  out += paint.off();
  if (report.measured) {
    Append(out, " (median of %lld runs, one thread)", static_cast<long long>(report.runs));
  }
  Append(out, "; at the roof %s (%.0f %%)\n", TimeText(report.roof_us).c_str(),
         report.us > 0 ? 100 * report.roof_us / report.us : 0.0);
  Append(out, "work      %zu steps, %sFLOP, %s moved, of that %s unfused; %.1f GFLOP/s\n",
         report.steps.size(), CountText(report.flops).c_str(), BytesText(report.bytes).c_str(),
         BytesText(report.unfused_bytes).c_str(),
         report.us > 0 ? static_cast<double>(report.flops) / report.us / 1e3 : 0.0);
  Append(out, "memory    weights %s (", BytesText(report.weights_bytes).c_str());
  for (size_t i = 0; i < report.weights.size(); ++i) {
    Append(out, "%s%s %s", i > 0 ? ", " : "", BytesText(report.weights[i].bytes).c_str(),
           report.weights[i].name.c_str());
  }
  Append(out, ")\n          activations %s, %s without sharing; inputs and outputs %s\n",
         BytesText(report.activation_bytes).c_str(),
         BytesText(report.activation_bytes_unshared).c_str(),
         BytesText(report.interface_bytes).c_str());
}

void AppendLosses(std::string& out, const Report& report, const Paint& paint) {
  if (report.losses.empty()) return;
  Heading(out, paint,
          report.measured ? "largest losses" : "largest losses (predicted; `profile` measures)");
  for (size_t i = 0; i < std::min(kLossesShown, report.losses.size()); ++i) {
    const Loss& loss = report.losses[i];
    Append(out, " %zu. %s%9s %5.1f %%%s  %s\n", i + 1, paint.yellow(), TimeText(loss.us).c_str(),
           report.us > 0 ? 100 * loss.us / report.us : 0.0, paint.off(),
           std::string(CauseTitle(loss.cause)).c_str());
    Wrap(out, loss.what, 6, 100);
    out += paint.faint();
    Wrap(out, "-> " + loss.remedy, 6, 100);
    out += paint.off();
  }
}

std::string Bar(double share) {
  const int full = static_cast<int>(share * kBarColumns + 0.5);
  return std::string(static_cast<size_t>(std::clamp(full, 0, kBarColumns)), '#');
}

void AppendGroups(std::string& out, const Report& report, const std::vector<Group>& groups,
                  const char* title, bool features, const Paint& paint) {
  if (groups.empty()) return;
  Heading(out, paint, title);
  out += paint.faint();
  Append(out, "  %-34s %5s %9s %6s %6s %8s %10s  %s\n", features ? "" : "layer", "steps", "time",
         "share", "roof", "flops", "bytes", features ? "" : "time");
  out += paint.off();
  size_t shown = 0;
  for (const Group& group : groups) {
    if (shown++ == kRowsShown) {
      Append(out, "  and %zu more: --json has all\n", groups.size() - kRowsShown);
      break;
    }
    const std::string name = features ? group.kind + " " + group.name : group.name;
    const double share = report.us > 0 ? group.us / report.us : 0;
    Append(out, "  %s %5lld %9s %5.1f%% %s%5.0f%%%s %8s %10s  %s\n", Cell(name, 34, true).c_str(),
           static_cast<long long>(group.steps), TimeText(group.us).c_str(), 100 * share,
           paint.share(group.roof_percent()), group.roof_percent(), paint.off(),
           CountText(group.flops).c_str(), BytesText(group.bytes).c_str(), Bar(share).c_str());
    if (!group.detail.empty()) out += "      " + Printable(group.detail, 90) + "\n";
  }
}

void AppendSteps(std::string& out, const Report& report, const TextOptions& options,
                 const Paint& paint) {
  if (report.steps.empty()) return;
  std::vector<size_t> order(report.steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const bool all = options.all_steps || order.size() <= kStepsShown;
  if (!all) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return report.steps[a].us > report.steps[b].us; });
    order.resize(kStepsShown);
  }
  Heading(out, paint, all ? "steps" : "most expensive steps (--steps shows all)");
  out += paint.faint();
  Append(out, "  %4s %-18s %9s %6s %6s %-7s %8s  %s\n", "#", "kind", "time", "share", "roof",
         "bound", "unfused", "node");
  out += paint.off();
  for (const size_t i : order) {
    const StepRow& step = report.steps[i];
    Append(out, "  %4zu %s %9s %5.1f%% %s%5.0f%%%s %-7s %8s  ", i, Cell(step.kind, 18).c_str(),
           TimeText(step.us).c_str(), report.us > 0 ? 100 * step.us / report.us : 0.0,
           paint.share(step.roof_percent()), step.roof_percent(), paint.off(),
           step.bound == "arithmetic" ? "flops" : std::string(step.level).c_str(),
           step.unfused_bytes > 0 ? BytesText(step.unfused_bytes).c_str() : "");
    out += Printable(step.label + " " + step.detail, 31, true) + "\n";
  }
}

void AppendReferences(std::string& out, const Report& report, const Paint& paint) {
  const bool any = std::any_of(report.steps.begin(), report.steps.end(),
                               [](const StepRow& step) { return step.reference; });
  if (!any) return;
  Heading(out, paint, "slow: steps on reference kernels");
  for (const StepRow& step : report.steps) {
    if (!step.reference) continue;
    Append(out, "  %9s  ", TimeText(step.us).c_str());
    out += Printable(step.kind.substr(10) + " '" + step.label + "' " + step.detail, 60) +
           ": no vector kernel\n";
  }
}

void AppendPasses(std::string& out, const Report& report, const Paint& paint) {
  Heading(out, paint, "passes");
  std::string line;
  for (const graph::PassReport& pass : report.passes) {
    if (pass.changes == 0) continue;
    std::string item = std::string(pass.name) + " " + std::to_string(pass.changes);
    if (!line.empty() && line.size() + item.size() > 94) {
      out += "  " + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : ", ") + item;
  }
  out += "  " + (line.empty() ? std::string("nothing changed") : line) + "\n";
  if (report.not_fused.empty()) return;
  Heading(out, paint, "not fused");
  for (const graph::NearMiss& miss : report.not_fused) {
    Wrap(out, miss.node + ": " + miss.what, 2, 100);
  }
}

void AppendComparison(std::string& out, const Comparison& comparison, const Paint& paint) {
  Heading(out, paint, "against " + Printable(comparison.name, 80, true));
  Append(out, "  %-44s %10s %10s %10s %8s\n", "layer", "before", "now", "change", "ratio");
  for (const Comparison::Row& row : comparison.rows) {
    const double change = row.now_us - row.before_us;
    const bool worse = change > 0.05 * row.before_us;
    const bool better = -change > 0.05 * row.before_us;
    Append(out, "  %s %10s %10s %s%10s%s %7.2fx\n", Cell(row.name, 44, true).c_str(),
           row.before_us > 0 ? TimeText(row.before_us).c_str() : "-",
           row.now_us > 0 ? TimeText(row.now_us).c_str() : "-",
           worse    ? paint.red()
           : better ? paint.green()
                    : "",
           ((change >= 0 ? "+" : "-") + TimeText(std::abs(change))).c_str(), paint.off(),
           row.before_us > 0 ? row.now_us / row.before_us : 0.0);
  }
}

}  // namespace

std::string Printable(std::string_view text, size_t columns, bool keep_end) {
  std::vector<std::string> runes;
  for (size_t at = 0; at < text.size();) {
    const base::Rune rune = base::DecodeRune(text, at);
    std::string piece;
    if (!rune.valid || IsUnsafe(rune.rune)) {
      piece = "?";
    } else {
      base::AppendRune(rune.rune, piece);
    }
    runes.push_back(std::move(piece));
    at += static_cast<size_t>(rune.bytes);
  }
  std::string out;
  if (runes.size() <= columns) {
    for (const std::string& rune : runes) out += rune;
    return out;
  }
  const size_t kept = columns > 0 ? columns - 1 : 0;
  if (keep_end) {
    out += "…";
    for (size_t i = runes.size() - kept; i < runes.size(); ++i) out += runes[i];
  } else {
    for (size_t i = 0; i < kept; ++i) out += runes[i];
    out += "…";
  }
  return out;
}

std::string BytesText(int64_t bytes) {
  char text[32];
  const double value = static_cast<double>(bytes);
  if (bytes >= int64_t{10} << 30) {
    std::snprintf(text, sizeof text, "%.1f GiB", value / (1 << 30));
  } else if (bytes >= 1 << 20) {
    std::snprintf(text, sizeof text, "%.1f MiB", value / (1 << 20));
  } else if (bytes >= 1 << 10) {
    std::snprintf(text, sizeof text, "%.1f KiB", value / (1 << 10));
  } else {
    std::snprintf(text, sizeof text, "%lld B", static_cast<long long>(bytes));
  }
  return text;
}

std::string TimeText(double us) {
  char text[32];
  if (us >= 1e6) {
    std::snprintf(text, sizeof text, "%.2f s", us / 1e6);
  } else if (us >= 1e4) {
    std::snprintf(text, sizeof text, "%.1f ms", us / 1e3);
  } else if (us >= 100) {
    std::snprintf(text, sizeof text, "%.0f us", us);
  } else if (us >= 1) {
    std::snprintf(text, sizeof text, "%.1f us", us);
  } else {
    std::snprintf(text, sizeof text, "%.2f us", us);
  }
  return text;
}

std::string CountText(int64_t count) {
  char text[32];
  const double value = static_cast<double>(count);
  if (count >= 1'000'000'000) {
    std::snprintf(text, sizeof text, "%.2f G", value / 1e9);
  } else if (count >= 1'000'000) {
    std::snprintf(text, sizeof text, "%.1f M", value / 1e6);
  } else if (count >= 1000) {
    std::snprintf(text, sizeof text, "%.1f k", value / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%lld ", static_cast<long long>(count));
  }
  return text;
}

std::string ToText(const Report& report, const Comparison* comparison, const TextOptions& options) {
  const Paint paint{options.colour};
  std::string out;
  AppendHead(out, report, paint);
  AppendTotal(out, report, paint);
  AppendLosses(out, report, paint);
  AppendReferences(out, report, paint);
  AppendGroups(out, report, report.layers, "layers", false, paint);
  AppendGroups(out, report, report.features, "features", true, paint);
  AppendSteps(out, report, options, paint);
  AppendPasses(out, report, paint);
  if (comparison != nullptr) AppendComparison(out, *comparison, paint);
  return out;
}

}  // namespace sluice::report
