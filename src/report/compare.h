// Two profiles side by side, by layer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "report/report.h"

namespace sluice::report {

struct Comparison {
  struct Row {
    std::string name;
    double before_us = 0;  // 0: the layer was not there
    double now_us = 0;
  };
  std::string name;  // of the older report, for people
  double before_us = 0;
  std::vector<Row> rows;  // the total first, then layers in the new report's order, then gone ones
};

// `json`: what ToJson wrote earlier. kInvalidArgument says what is missing or out of place in it.
base::Result<Comparison> CompareWith(const Report& report, const std::string& name,
                                     std::string_view json);

}  // namespace sluice::report
