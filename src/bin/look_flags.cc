#include "bin/look_flags.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "report/html.h"
#include "report/json.h"
#include "report/text.h"

namespace sluice::bin {

void AddLookFlags(LookFlags& look, std::vector<Flag>& flags) {
  flags.push_back({"batch", &look.sizes.batch, "N", "size of an open dimension 0"});
  flags.push_back({"length", &look.sizes.length, "N", "size of the other open dimensions"});
  flags.push_back(
      {"dim", &look.sizes.dims, "NAME=N", "size of the open dimension NAME; may repeat"});
  flags.push_back({"mean-length", &look.sizes.mean_length, "N",
                   "mean length of your sequences: their spread up to --length in packed rows, or "
                   "what padding them costs; 0: all have --length"});
  flags.push_back({"weights",
                   FlagSetter{[&look](std::string_view text) -> base::Status {
                                graph::WeightChoice choice;
                                choice.form = TRY(graph::ParseWeightForm(text));
                                look.compile.weights = std::move(choice);
                                return base::Ok();
                              },
                              "as `sluice quantize` chose, else f32", false},
                   "FORM", "keep linear layers' weights as f32, bf16, int8, …-storage"});
  AddSwitch("steps", &look.all_steps, "every step, not only the most expensive", flags);
  flags.push_back({"html", &look.html, "FILE", "write the report as one HTML page, too"});
  AddSwitch("json", &look.json, "one JSON object (docs/report.md)", flags);
}

base::Status WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) return base::Unavailable("cannot write '" + path + "'");
  return base::Ok();
}

base::Status Show(const LookFlags& look, const report::Report& report,
                  const report::Comparison* comparison) {
  if (!look.html.empty()) TRY(WriteFile(look.html, report::ToHtml(report, comparison)));
  if (look.json) {
    std::puts(report::ToJson(report, comparison).c_str());
    return base::Ok();
  }
  report::TextOptions options;
  const char* const no_colour = std::getenv("NO_COLOR");  // https://no-color.org
  options.colour = isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
  options.all_steps = look.all_steps;
  std::fputs(report::ToText(report, comparison, options).c_str(), stdout);
  return base::Ok();
}

}  // namespace sluice::bin
