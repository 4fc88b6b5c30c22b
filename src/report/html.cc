#include "report/html.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "report/json.h"
#include "report/text.h"

namespace sluice::report {
namespace {

[[gnu::format(printf, 2, 3)]] void Append(std::string& out, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out += text;
}

std::string Number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

double ShareOf(double part, double whole) {
  return whole > 0 ? 100 * part / whole : 0;
}

// A cell that sorts by `value` and shows `text`.
void NumberCell(std::string& out, double value, std::string_view text) {
  out += "<td class=\"n\" data-v=\"" + Number(value, 6) + "\">" + Escape(text) + "</td>";
}

struct Column {
  const char* title;
  bool number = false;
  bool sorts = true;
};

void BeginTable(std::string& out, std::string_view id, std::string_view caption,
                std::initializer_list<Column> columns) {
  out += "<div class=\"scroll\" role=\"group\" tabindex=\"0\" aria-label=\"";
  out += Escape(caption);
  out += "\"><table id=\"";
  out += id;
  out += "\"><caption class=\"hidden\">";
  out += Escape(caption);
  out += "</caption><thead><tr>";
  for (const Column& column : columns) {
    out += column.number ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">";
    if (column.sorts) {
      out += std::string("<button type=\"button\">") + column.title + "</button>";
    } else {
      out += column.title;
    }
    out += "</th>";
  }
  out += "</tr></thead><tbody>\n";
}

void EndTable(std::string& out) {
  out += "</tbody></table></div>\n";
}

void Section(std::string& out, std::string_view id, std::string_view title) {
  out += "<section aria-labelledby=\"";
  out += id;
  out += "\"><h2 id=\"";
  out += id;
  out += "\">";
  out += title;
  out += "</h2>\n";
}

void Tile(std::string& out, std::string_view name, const std::string& value,
          const std::string& note) {
  out += "<div class=\"tile\"><dt>";
  out += name;
  out += "</dt><dd><b>" + Escape(value) + "</b><span>" + Escape(note) + "</span></dd></div>\n";
}

void AppendHead(std::string& out, const Report& report) {
  out += "<header><p class=\"kind\">Sluice ";
  out += report.measured ? "profile" : "explain";
  out += "</p><h1>" + Escape(report.model) + "</h1><p class=\"meta\">" + "Producer " +
         Escape(ProducerOf(report));
  Append(out, ", opset %d &middot; ", report.opset);
  out += Escape(report.machine) +
         "</p></header>\n<main id=\"main\" tabindex=\"-1\">\n<dl class=\"tiles\">\n";
  if (!report.interpreted) {
    Tile(out, report.measured ? "Time of a run" : "Predicted time", TimeText(report.us),
         report.measured ? "median of " + std::to_string(report.runs) + ", one thread"
                         : "profile measures it");
    Tile(out, "Of the roof", Number(ShareOf(report.roof_us, report.us), 0) + " %",
         TimeText(report.roof_us) + " at the roof");
    Tile(out, "Arithmetic",
         Number(report.us > 0 ? static_cast<double>(report.flops) / report.us / 1e3 : 0, 1) +
             " GFLOP/s",
         CountText(report.flops) + "FLOP of " + Number(report.roofs.gflops, 0) + " GFLOP/s peak");
    Tile(out, "Unfused traffic", BytesText(report.unfused_bytes),
         "of " + BytesText(report.bytes) + " moved");
  }
  if (report.padding_percent > 0) {
    Tile(out, "Padding", Number(report.padding_percent, 0) + " %", "of the rows");
  }
  Tile(out, "Weights", BytesText(report.weights_bytes), "resident, once a process");
  Tile(out, "Activations", BytesText(report.activation_bytes),
       BytesText(report.activation_bytes_unshared) + " without sharing");
  if (report.packed_sequences > 0) {
    Tile(out, "Packed rows", std::to_string(report.packed_rows),
         std::to_string(report.packed_sequences) + " sequences, the longest of " +
             std::to_string(report.packed_longest));
  }
  Tile(out, "Requests", report.joined ? "joined" : "alone", "batching along dimension 0");
  out += "</dl>\n<p><strong>Batching:</strong> " + Escape(report.batching) + ".</p>\n";
  out += "<p><strong>Padding:</strong> " +
         Escape(report.packed ? "none: requests of any lengths run as packed rows"
                              : "kept: " + report.packed_reason) +
         (report.packed_sequences > 0 ? "; here " + PackingText(report) : std::string()) +
         ".</p>\n";
  if (report.interpreted) {
    out += "<p><strong>Runs in the interpreter, which allocates:</strong> " +
           Escape(report.interpreted_reason) + ".</p>\n";
  }
}

void AppendLosses(std::string& out, const Report& report) {
  if (report.losses.empty()) return;
  Section(out, "losses", "Largest losses");
  if (!report.measured) out += "<p>Predicted; <code>sluice profile</code> measures.</p>\n";
  out += "<ol class=\"losses\" role=\"list\">\n";
  for (size_t i = 0; i < std::min(kLossesShown, report.losses.size()); ++i) {
    const Loss& loss = report.losses[i];
    out += "<li><div class=\"cost\"><b>" + TimeText(loss.us) + "</b> <span>" +
           Number(ShareOf(loss.us, report.us), 1) + " %</span></div><div><p class=\"cause\">";
    out += CauseTitle(loss.cause);
    out += "</p><p>" + Escape(loss.what) + "</p><p class=\"remedy\"><strong>Remedy:</strong> " +
           Escape(loss.remedy) + "</p></div></li>\n";
  }
  out += "</ol></section>\n";
}

// A bar from `begin` to `end` percent of its cell.
void BarCell(std::string& out, double begin, double end, std::string_view css) {
  Append(out,
         "<td class=\"bar\"><svg aria-hidden=\"true\" width=\"100%%\" height=\"16\">"
         "<rect x=\"%.3f%%\" width=\"%.3f%%\" height=\"16\" class=\"",
         begin, std::max(0.15, end - begin));
  out += css;
  out += "\"/></svg></td>";
}

void AppendWaterfall(std::string& out, const Report& report) {
  if (report.us <= 0) return;
  Section(out, "waterfall", "From the time taken to the roof");
  out +=
      "<p>Each cause takes its share off the time; what remains is the same work at this core's "
      "roofs.</p>\n";
  BeginTable(out, "causes", "Time lost by cause",
             {{"Cause", false, false},
              {"Lost", false, false},
              {"Time", true, false},
              {"Share", true, false}});
  const auto row = [&](std::string_view name, double begin, double us, std::string_view css) {
    out += "<tr><th scope=\"row\">";
    out += name;
    out += "</th>";
    BarCell(out, ShareOf(begin, report.us), ShareOf(begin + us, report.us), css);
    NumberCell(out, us, TimeText(us));
    NumberCell(out, us, Number(ShareOf(us, report.us), 1) + " %");
    out += "</tr>\n";
  };
  row(report.measured ? "time taken" : "time predicted", 0, report.us, "total");
  double left = report.us;
  std::vector<int> causes;
  for (int c = 0; c < kCauseCount; ++c) {
    if (report.lost_us[c] > 5e-4 * report.us && static_cast<Cause>(c) != Cause::kAlone)
      causes.push_back(c);
  }
  std::stable_sort(causes.begin(), causes.end(),
                   [&](int a, int b) { return report.lost_us[a] > report.lost_us[b]; });
  for (const int c : causes) {
    left = std::max(0.0, left - report.lost_us[c]);
    row(CauseTitle(static_cast<Cause>(c)), left, report.lost_us[c], "lost");
  }
  row("work at the roof", 0, left, "roof");
  EndTable(out);
  out += "</section>\n";
}

void AppendLegend(std::string& out, const Report& report) {
  out += "<ul class=\"legend\" role=\"list\" aria-label=\"colours\">";
  for (const std::string& family : report.families) {
    out +=
        "<li><svg aria-hidden=\"true\" width=\"12\" height=\"12\"><rect width=\"12\" "
        "height=\"12\" class=\"" +
        FamilyClass(family) + "\"/></svg>" + Escape(family) + "</li>";
  }
  out += "</ul>\n";
}

void GroupCells(std::string& out, const Report& report, const Group& group) {
  NumberCell(out, group.us, TimeText(group.us));
  NumberCell(out, group.us, Number(ShareOf(group.us, report.us), 1) + " %");
  NumberCell(out, group.roof_percent(), Number(group.roof_percent(), 0) + " %");
  NumberCell(out, static_cast<double>(group.steps), std::to_string(group.steps));
  NumberCell(out, static_cast<double>(group.flops), CountText(group.flops));
  NumberCell(out, static_cast<double>(group.bytes), BytesText(group.bytes));
  NumberCell(out, static_cast<double>(group.unfused_bytes), BytesText(group.unfused_bytes));
}

void AppendLayers(std::string& out, const Report& report) {
  if (report.layers.empty()) return;
  double longest = 0;
  for (const Group& layer : report.layers) longest = std::max(longest, layer.us);
  Section(out, "layers", "Time by layer");
  AppendLegend(out, report);
  BeginTable(out, "layer-table", "Layers with the time of each kind of step",
             {{"Layer"},
              {"By kind", false, false},
              {"Time", true},
              {"Share", true},
              {"Roof", true},
              {"Steps", true},
              {"FLOP", true},
              {"Bytes", true},
              {"Unfused", true}});
  for (const Group& layer : report.layers) {
    out += "<tr><th scope=\"row\">" + Escape(layer.name) +
           "</th><td class=\"bar\"><svg role=\"img\" "
           "width=\"100%\" height=\"16\" aria-label=\"";
    std::string parts, rects;
    double at = 0;
    for (size_t i = 0; i < layer.family_us.size(); ++i) {
      const double us = layer.family_us[i];
      if (us <= 0) continue;
      const double width = ShareOf(us, longest);
      const std::string told = report.families[i] + " " + TimeText(us);
      Append(rects, "<rect x=\"%.3f%%\" width=\"%.3f%%\" height=\"16\" class=\"%s\"><title>", at,
             std::max(0.1, width), FamilyClass(report.families[i]).c_str());
      rects += Escape(told) + "</title></rect>";
      parts += (parts.empty() ? "" : ", ") + told;
      at += width;
    }
    out += Escape(parts) + "\">" + rects + "</svg></td>";
    GroupCells(out, report, layer);
    out += "</tr>\n";
  }
  EndTable(out);
  out += "</section>\n";
}

void AppendFeatures(std::string& out, const Report& report) {
  if (report.features.empty()) return;
  Section(out, "features", "Features");
  out +=
      "<p>Tables, and what only some of the inputs or outputs need. A step may count in "
      "several.</p>\n";
  BeginTable(out, "feature-table", "Features",
             {{"Feature"},
              {"What"},
              {"Time", true},
              {"Share", true},
              {"Roof", true},
              {"Steps", true},
              {"FLOP", true},
              {"Bytes", true},
              {"Unfused", true}});
  for (const Group& feature : report.features) {
    out += "<tr><th scope=\"row\">" + Escape(feature.name) + "</th><td>" + Escape(feature.kind);
    if (!feature.detail.empty()) out += ", " + Escape(feature.detail);
    out += "</td>";
    GroupCells(out, report, feature);
    out += "</tr>\n";
  }
  EndTable(out);
  out += "</section>\n";
}

void AppendRoofline(std::string& out, const Report& report) {
  const std::string svg = RooflineSvg(report);
  if (svg.empty()) return;
  Section(out, "roofline", "Roofline");
  out +=
      "<p>One point a step that computes; its area is its share of the time. The table of steps "
      "has the same figures.</p>\n";
  AppendLegend(out, report);
  out += "<div class=\"scroll chart\" role=\"group\" tabindex=\"0\" aria-label=\"Roofline\">" +
         svg + "</div></section>\n";
}

void AppendMemory(std::string& out, const Report& report) {
  Section(out, "memory", "Memory");
  std::vector<Bytes> rows;
  for (const Bytes& weights : report.weights)
    rows.push_back({"weights, " + weights.name, weights.bytes});
  rows.push_back({"activations", report.activation_bytes});
  rows.push_back({"activations without sharing", report.activation_bytes_unshared});
  rows.push_back({"inputs and outputs of a run", report.interface_bytes});
  int64_t largest = 1;
  for (const Bytes& row : rows) largest = std::max(largest, row.bytes);
  BeginTable(out, "memory-table", "Memory",
             {{"What", false, false}, {"Compared", false, false}, {"Bytes", true, false}});
  for (const Bytes& row : rows) {
    out += "<tr><th scope=\"row\">" + Escape(row.name) + "</th>";
    const bool saved = row.name == "activations without sharing";
    BarCell(out, 0, ShareOf(static_cast<double>(row.bytes), static_cast<double>(largest)),
            saved ? "faint" : "total");
    NumberCell(out, static_cast<double>(row.bytes), BytesText(row.bytes));
    out += "</tr>\n";
  }
  EndTable(out);
  out += "</section>\n";
}

std::string LostTo(const StepRow& step) {
  int worst = 0;
  for (int c = 1; c < kCauseCount; ++c) {
    if (step.lost_us[c] > step.lost_us[worst]) worst = c;
  }
  if (step.lost_us[worst] < 0.01 * step.us) return "";
  return std::string(CauseTitle(static_cast<Cause>(worst)));
}

void AppendSteps(std::string& out, const Report& report) {
  if (report.steps.empty()) return;
  Section(out, "steps", "Steps");
  out +=
      "<p class=\"filter\"><label for=\"filter\">Filter by node, kind or layer</label> "
      "<input id=\"filter\" type=\"search\" autocomplete=\"off\"> "
      "<span id=\"count\" role=\"status\"></span></p>\n";
  BeginTable(out, "step-table", "Steps in the order they run",
             {{"#", true},
              {"Kind"},
              {"Node"},
              {"Layer"},
              {"Time", true},
              {"Share", true},
              {"Roof", true},
              {"GFLOP/s", true},
              {"Attainable", true},
              {"FLOP/byte", true},
              {"Bound by"},
              {"Unfused", true},
              {"Mostly lost to"}});
  for (size_t i = 0; i < report.steps.size(); ++i) {
    const StepRow& step = report.steps[i];
    const double gflops = step.us > 0 ? static_cast<double>(step.flops) / step.us / 1e3 : 0;
    Append(out, "<tr id=\"step-%zu\" tabindex=\"-1\">", i);
    NumberCell(out, static_cast<double>(i), std::to_string(i));
    out += std::string("<td") + (step.reference ? " class=\"bad\"" : "") + ">" + Escape(step.kind) +
           "</td><th scope=\"row\">" + Escape(step.label) + "<span>" + Escape(step.detail);
    if (!step.unfused_why.empty()) out += "; " + Escape(step.unfused_why);
    out +=
        "</span></th><td>" + Escape(report.layers[static_cast<size_t>(step.layer)].name) + "</td>";
    NumberCell(out, step.us, TimeText(step.us));
    NumberCell(out, step.us, Number(ShareOf(step.us, report.us), 1) + " %");
    NumberCell(out, step.roof_percent(), Number(step.roof_percent(), 0) + " %");
    NumberCell(out, gflops, Number(gflops, 1));
    NumberCell(out, step.attainable_gflops, Number(step.attainable_gflops, 1));
    NumberCell(out, step.intensity, Number(step.intensity, 2));
    out += "<td>" + Escape(step.bound == "arithmetic" ? step.bound : step.level) + "</td>";
    NumberCell(out, static_cast<double>(step.unfused_bytes),
               step.unfused_bytes > 0 ? BytesText(step.unfused_bytes) : "");
    out += "<td>" + Escape(LostTo(step)) + "</td></tr>\n";
  }
  EndTable(out);
  out += "</section>\n";
}

void AppendComparison(std::string& out, const Comparison& comparison) {
  Section(out, "against", "Against an earlier report");
  out += "<p>" + Escape(comparison.name) + "</p>\n";
  BeginTable(out, "against-table", "Change by layer",
             {{"Layer"}, {"Before", true}, {"Now", true}, {"Change", true}, {"Ratio", true}});
  for (const Comparison::Row& row : comparison.rows) {
    const double change = row.now_us - row.before_us;
    const char* const css = change > 0.05 * row.before_us    ? " class=\"worse\""
                            : -change > 0.05 * row.before_us ? " class=\"better\""
                                                             : "";
    out += std::string("<tr") + css + "><th scope=\"row\">" + Escape(row.name) + "</th>";
    NumberCell(out, row.before_us, row.before_us > 0 ? TimeText(row.before_us) : "–");
    NumberCell(out, row.now_us, row.now_us > 0 ? TimeText(row.now_us) : "–");
    NumberCell(out, change, (change >= 0 ? "+" : "−") + TimeText(std::abs(change)));
    const double ratio = row.before_us > 0 ? row.now_us / row.before_us : 0;
    NumberCell(out, ratio, ratio > 0 ? Number(ratio, 2) + "×" : "");
    out += "</tr>\n";
  }
  EndTable(out);
  out += "</section>\n";
}

void AppendInterface(std::string& out, const std::vector<graph::TensorInterface>& tensors,
                     const char* direction, const std::vector<tensor::Shape>* shapes) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::string dims = "[";
    for (size_t axis = 0; axis < tensors[i].dims.size(); ++axis) {
      if (axis > 0) dims += ", ";
      dims += tensors[i].dims[axis] >= 0         ? std::to_string(tensors[i].dims[axis])
              : tensors[i].symbols[axis].empty() ? "?"
                                                 : tensors[i].symbols[axis];
    }
    out += "<tr><th scope=\"row\">" + Escape(tensors[i].name) + "</th><td>" + direction +
           "</td><td>" + Escape(tensor::DTypeName(tensors[i].dtype)) + "</td><td>" +
           Escape(dims + "]") + "</td><td>";
    if (shapes != nullptr && i < shapes->size()) out += Escape((*shapes)[i].ToString());
    out += "</td></tr>\n";
  }
}

void AppendCompilation(std::string& out, const Report& report) {
  Section(out, "compiled", "What it was compiled from");
  BeginTable(out, "interface-table", "Inputs and outputs",
             {{"Name", false, false},
              {"Goes", false, false},
              {"Type", false, false},
              {"Shape", false, false},
              {"Here", false, false}});
  AppendInterface(out, report.inputs, "input", &report.shapes);
  AppendInterface(out, report.outputs, "output", nullptr);
  EndTable(out);
  out += "<h3>Not fused</h3>\n";
  if (report.not_fused.empty()) {
    out += "<p>Nothing was nearly recognised and then left.</p>\n";
  } else {
    out += "<ul>\n";
    for (const graph::NearMiss& miss : report.not_fused) {
      out += "<li><code>" + Escape(miss.node) + "</code>: " + Escape(miss.what) + "</li>\n";
    }
    out += "</ul>\n";
  }
  out += "<h3>Passes</h3>\n<p>";
  bool first = true;
  for (const graph::PassReport& pass : report.passes) {
    if (pass.changes == 0) continue;
    if (!first) out += ", ";
    first = false;
    out += Escape(pass.name) + " " + std::to_string(pass.changes);
  }
  out += first ? "Nothing changed.</p>" : ".</p>";
  out += "</section>\n";
}

void AppendRoofs(std::string& out, const Report& report) {
  out += "<p class=\"meta\">Roofs of one core (" + Escape(report.target) +
         "): " + Number(report.roofs.gflops, 0) + " GFLOP/s f32";
  for (const MemoryLevel& level : report.roofs.levels) {
    out += "; " + Escape(level.name) + " " + Number(level.gbytes, 0) + " GB/s";
  }
  out += ". Schema " + Escape(kSchema) + ".</p>\n";
}

}  // namespace

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : Printable(text, 4096)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string FamilyClass(std::string_view family) {
  static constexpr std::string_view kNames[] = {"products",    "attention", "look-ups", "rows",
                                                "elementwise", "moves",     "reference"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (family == kNames[i]) return "f" + std::to_string(i);
  }
  return "f8";
}

std::string ToHtml(const Report& report, const Comparison* comparison) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action "
      "'none'\">\n<title>";
  out += Escape(report.model) + " – Sluice</title>\n<style>" + std::string(PageStyle()) +
         "</style></head>\n<body><a class=\"skip\" href=\"#main\">Skip to the report</a>\n";
  AppendHead(out, report);
  AppendLosses(out, report);
  if (comparison != nullptr) AppendComparison(out, *comparison);
  AppendWaterfall(out, report);
  AppendLayers(out, report);
  AppendFeatures(out, report);
  AppendRoofline(out, report);
  AppendMemory(out, report);
  AppendSteps(out, report);
  AppendCompilation(out, report);
  out += "</main>\n<footer>";
  AppendRoofs(out, report);
  out += "</footer>\n<script>" + std::string(PageScript()) + "</script>\n</body></html>\n";
  return out;
}

}  // namespace sluice::report
