// The roofline chart, drawn without a library.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <numeric>

#include "report/html.h"
#include "report/text.h"

namespace sluice::report {
namespace {

constexpr double kWidth = 880, kHeight = 440;
constexpr double kLeft = 64, kRight = 20, kTop = 16, kBottom = 52;
// Points that are links, and so can be reached by the tab key.
constexpr size_t kLinked = 20;
// Below this an axis does not begin.
constexpr double kLeast = 1e-6;

[[gnu::format(printf, 2, 3)]] void Append(std::string& out, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out += text;
}

// Decades that hold all values.
struct Scale {
  int low = 0;
  int high = 1;
  double begin = 0;  // pixels
  double end = 1;

  double At(double value) const {
    const double share = (std::log10(value) - low) / (high - low);
    return begin + std::clamp(share, 0.0, 1.0) * (end - begin);
  }
};

double Achieved(const StepRow& step) {
  return static_cast<double>(step.flops) / step.us / 1e3;
}

std::string Decade(int power) {
  char text[24];
  std::snprintf(text, sizeof text, "%.*f", std::max(0, -power), std::pow(10.0, power));
  return text;
}

void AppendAxes(std::string& out, const Scale& x, const Scale& y) {
  for (int power = x.low; power <= x.high; ++power) {
    const double at = x.At(std::pow(10.0, power));
    Append(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", at, at,
           y.end, y.begin);
    Append(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", at, y.begin + 18,
           Decade(power).c_str());
  }
  for (int power = y.low; power <= y.high; ++power) {
    const double at = y.At(std::pow(10.0, power));
    Append(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x.begin,
           x.end, at, at);
    Append(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", x.begin - 8, at + 4,
           Decade(power).c_str());
  }
  Append(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">FLOP per byte</text>\n",
         (x.begin + x.end) / 2, kHeight - 10);
  Append(
      out,
      "<text transform=\"translate(14 %.1f) rotate(-90)\" text-anchor=\"middle\">GFLOP/s</text>\n",
      (y.begin + y.end) / 2);
}

void AppendRoofLines(std::string& out, const Report& report, const Scale& x, const Scale& y) {
  const double peak = report.roofs.gflops;
  const double low_x = std::pow(10.0, x.low), high_x = std::pow(10.0, x.high);
  const double low_y = std::pow(10.0, y.low);
  Append(out, "<line class=\"peak\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
         x.At(peak / report.roofs.levels.front().gbytes), x.end, y.At(peak), y.At(peak));
  Append(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.0f GFLOP/s</text>\n", x.end - 4,
         y.At(peak) - 6, peak);
  for (size_t i = 0; i < report.roofs.levels.size(); ++i) {
    const MemoryLevel& level = report.roofs.levels[i];
    const double from = std::max(low_x, low_y / level.gbytes);
    const double to = std::min(high_x, peak / level.gbytes);
    if (to <= from) continue;
    const double x1 = x.At(from), y1 = y.At(from * level.gbytes);
    const double x2 = x.At(to), y2 = y.At(to * level.gbytes);
    Append(out, "<line class=\"level\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x1, x2,
           y1, y2);
    // Names stand apart along their lines, which may lie close together.
    const double share = 0.08 + 0.2 * static_cast<double>(i);
    const bool last = i + 1 == report.roofs.levels.size();
    const double angle = std::atan2(y2 - y1, x2 - x1) * 180 / 3.14159265358979;
    Append(out,
           "<text class=\"on\" transform=\"translate(%.1f %.1f) rotate(%.1f)\" dy=\"%d\">"
           "%s %.0f GB/s</text>\n",
           x1 + share * (x2 - x1), y1 + share * (y2 - y1), angle, last ? 15 : -5,
           std::string(level.name).c_str(), level.gbytes);
  }
}

void AppendPoint(std::string& out, const Report& report, size_t index, bool linked, const Scale& x,
                 const Scale& y) {
  const StepRow& step = report.steps[index];
  const double share = report.us > 0 ? step.us / report.us : 0;
  char figures[160];
  std::snprintf(figures, sizeof figures, ": %.1f of %.1f GFLOP/s attainable, %.2f FLOP per byte, ",
                Achieved(step), step.attainable_gflops, step.intensity);
  const std::string told = Escape(std::to_string(index) + " " + step.kind + " " + step.label +
                                  figures + TimeText(step.us));
  if (linked) Append(out, "<a href=\"#step-%zu\" aria-label=\"", index);
  if (linked) out += told + "\">";
  // A link tells its figures itself.
  if (linked) out += "<g aria-hidden=\"true\">";
  Append(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"point ", x.At(step.intensity),
         y.At(Achieved(step)), 3.5 + 16 * std::sqrt(share));
  out += FamilyClass(FamilyOf(step.kind)) + "\"><title>" + told + "</title></circle>";
  out += linked ? "</g></a>\n" : "\n";
}

}  // namespace

std::string RooflineSvg(const Report& report) {
  std::vector<size_t> points;
  for (size_t i = 0; i < report.steps.size(); ++i) {
    const StepRow& step = report.steps[i];
    if (step.flops > 0 && step.bytes > 0 && step.us > 0) points.push_back(i);
  }
  if (points.empty() || report.roofs.levels.empty()) return {};
  // Large ones first, so that small ones are drawn over them.
  std::stable_sort(points.begin(), points.end(),
                   [&](size_t a, size_t b) { return report.steps[a].us > report.steps[b].us; });
  double least_x = 0.1, most_x = 10, least_y = 1, most_y = report.roofs.gflops;
  for (const size_t i : points) {
    least_x = std::min(least_x, report.steps[i].intensity);
    most_x = std::max(most_x, report.steps[i].intensity);
    least_y = std::min(least_y, Achieved(report.steps[i]));
    most_y = std::max(most_y, Achieved(report.steps[i]));
  }
  // A roof's shoulder is always in sight.
  most_x = std::max(most_x, 2 * report.roofs.gflops / report.roofs.levels.back().gbytes);
  const auto below = [](double value) {
    return static_cast<int>(std::floor(std::log10(std::max(value, kLeast))));
  };
  const auto above = [](double value) {
    return static_cast<int>(std::ceil(std::log10(value * 1.1)));
  };
  const Scale x{below(least_x), above(most_x), kLeft, kWidth - kRight};
  const Scale y{below(least_y), above(most_y), kHeight - kBottom, kTop};
  std::string out;
  Append(
      out,
      "<svg class=\"roofline\" viewBox=\"0 0 %.0f %.0f\" role=\"group\" aria-label=\"Roofline of "
      "%zu steps\">\n",
      kWidth, kHeight, points.size());
  AppendAxes(out, x, y);
  AppendRoofLines(out, report, x, y);
  for (size_t i = 0; i < points.size(); ++i) AppendPoint(out, report, points[i], i < kLinked, x, y);
  out += "</svg>\n";
  return out;
}

}  // namespace sluice::report
