// The report for a terminal: at most 100 columns, colour only where asked for. Whatever a model
// file wrote is stripped of control characters before it is printed.
#pragma once

#include <string>
#include <string_view>

#include "report/compare.h"
#include "report/report.h"

namespace sluice::report {

struct TextOptions {
  bool colour = false;
  bool all_steps = false;  // else the most expensive
};
// `comparison`: null for a report alone.
std::string ToText(const Report& report, const Comparison* comparison, const TextOptions& options);

// `text` safe for a terminal: control characters, line breaks, invalid UTF-8 and the marks that
// change the direction of writing become '?'. Cut to `columns` code points, with an ellipsis in
// front when `keep_end`.
std::string Printable(std::string_view text, size_t columns, bool keep_end = false);

// "1.5 MiB", "12.3 us", "1.2 ms", "3.4 G".
std::string BytesText(int64_t bytes);
std::string TimeText(double us);
std::string CountText(int64_t count);

}  // namespace sluice::report
