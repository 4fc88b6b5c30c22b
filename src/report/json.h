// The report as one JSON object. docs/report.md describes every key; within a schema's number keys
// are only added.
#pragma once

#include <string>
#include <string_view>

#include "report/compare.h"
#include "report/report.h"

namespace sluice::report {

inline constexpr std::string_view kSchema = "sluice.report/1";

// `comparison`: null for a report alone.
std::string ToJson(const Report& report, const Comparison* comparison);

}  // namespace sluice::report
