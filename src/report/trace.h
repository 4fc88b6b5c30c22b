// One run as a Chrome trace: chrome://tracing and Perfetto read it.
#pragma once

#include <string>

#include "report/measure.h"
#include "report/opened_model.h"

namespace sluice::report {

// Complete events of the trace event format, in microseconds from the first step.
std::string ToChromeTrace(const Opened& opened, const Timing& timing);

}  // namespace sluice::report
