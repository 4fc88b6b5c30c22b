// Flags that `explain` and `profile` share: sizes of open dimensions and what form the report
// takes.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bin/flags.h"
#include "report/compare.h"
#include "report/report.h"

namespace sluice::bin {

struct LookFlags {
  report::OpenSizes sizes;
  graph::CompileOptions compile;
  bool json = false;
  bool all_steps = false;
  std::string html;
};
void AddLookFlags(LookFlags& look, std::vector<Flag>& flags);

// Writes the report as the flags say: to standard output and, where asked for, as a page.
base::Status Show(const LookFlags& look, const report::Report& report,
                  const report::Comparison* comparison);

// Replaces the file.
base::Status WriteFile(const std::string& path, const std::string& content);

}  // namespace sluice::bin
