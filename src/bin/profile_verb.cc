// `sluice profile`: runs a model on one thread and measures every step against the machine's roof.
#include <algorithm>
#include <cstdio>

#include "base/files.h"
#include "bin/command.h"
#include "bin/look_flags.h"
#include "bin/verbs.h"
#include "report/trace.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "profile", "MODEL.onnx|FOLDER", "Measure a model step by step against the machine's roof.",
    "sluice profile demo/models/package_encoder/1 --batch 16 --length 64 --trace trace.json"};

constexpr int64_t kReportBytesMax = int64_t{256} << 20;
constexpr int64_t kJoinedRows = 16;

struct ProfileFlags {
  LookFlags look;
  int64_t runs = 15;
  std::string trace;
  std::string against;
};

// What a row of the model would cost less if requests were joined; 0 where they are or cannot be.
base::Result<double> AloneUs(const report::Opened& opened, const report::Timing& timing) {
  if (opened.model->batchability().joinable) return 0.0;
  report::OpenSizes sizes = opened.sizes;
  sizes.batch *= kJoinedRows;
  const auto joined = report::OpenForLooking(opened.model, sizes);
  // A model of one fixed size, or that does not take more rows, has nothing to join.
  if (!joined.ok() || joined->plan->predicted_ns <= opened.plan->predicted_ns) return 0.0;
  const report::Timing together = TRY(report::Measure(*joined, 3));
  const double row_us = static_cast<double>(together.total_ns) / kJoinedRows / 1e3;
  return std::max(0.0, static_cast<double>(timing.total_ns) / 1e3 - row_us);
}

base::Status Run(const std::string& path, const ProfileFlags& flags) {
  const report::Opened opened =
      TRY(report::OpenForLooking(path, flags.look.sizes, flags.look.compile));
  const report::Roofs before = report::MeasureRoofs();
  const report::Timing timing = TRY(report::Measure(opened, flags.runs));
  // The machine may be faster after than before: the roof is the best that it showed.
  report::Roofs roofs = report::MeasureRoofs();
  roofs.gflops = std::max(roofs.gflops, before.gflops);
  for (size_t i = 0; i < roofs.levels.size(); ++i) {
    roofs.levels[i].gbytes = std::max(roofs.levels[i].gbytes, before.levels[i].gbytes);
  }
  report::ReportArgs args;
  args.model = path;
  args.opened = &opened;
  args.roofs = &roofs;
  args.timing = &timing;
  args.alone_us = TRY(AloneUs(opened, timing));
  const report::Report report = report::MakeReport(args);
  if (!flags.trace.empty()) {
    TRY(WriteFile(flags.trace, report::ToChromeTrace(opened, timing)));
  }
  if (flags.against.empty()) return Show(flags.look, report, nullptr);
  const std::string json = TRY(base::ReadFile(flags.against, kReportBytesMax));
  auto comparison = report::CompareWith(report, flags.against, json);
  if (!comparison.ok()) {
    return base::InvalidArgument("--against '" + flags.against +
                                 "': " + comparison.error().message);
  }
  return Show(flags.look, report, &*comparison);
}

}  // namespace

int RunProfile(const Arguments& arguments) {
  ProfileFlags values;
  std::vector<Flag> flags;
  AddLookFlags(values.look, flags);
  flags.push_back({"runs", &values.runs, "N", "runs; times are medians over them"});
  flags.push_back({"trace", &values.trace, "FILE", "write one run as a Chrome trace"});
  flags.push_back({"against", &values.against, "FILE", "compare with what --json wrote earlier"});
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto done = Run(positional->front(), values);
  return done.ok() ? kExitOk : Fail(kUsage, done.error());
}

}  // namespace sluice::bin
