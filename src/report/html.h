// The report as one self-contained HTML page: no network, readable without scripts (they only sort
// and filter tables), by keyboard and by screen readers, light and dark, on paper.
#pragma once

#include <string>
#include <string_view>

#include "report/compare.h"
#include "report/report.h"

namespace sluice::report {

// `comparison`: null for a report alone.
std::string ToHtml(const Report& report, const Comparison* comparison);

// `text` as HTML text or as the value of a quoted attribute: markup escaped, and as Printable makes
// it, since a page is as easily garbled by marks of direction as a terminal.
std::string Escape(std::string_view text);

// The roofline of the steps that compute: achieved GFLOP/s over flops a byte, both logarithmic,
// under the machine's roofs. An <svg>; empty when no step computes.
std::string RooflineSvg(const Report& report);

// The page's style sheet and script.
std::string_view PageStyle();
std::string_view PageScript();

// "f3": the class that colours a family of kinds.
std::string FamilyClass(std::string_view family);

}  // namespace sluice::report
