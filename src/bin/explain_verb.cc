// `sluice explain`: what a model was compiled to and what it is predicted to cost here.
#include <cstdio>

#include "bin/command.h"
#include "bin/look_flags.h"
#include "bin/verbs.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "explain", "MODEL.onnx|FOLDER",
    "Say what a model was compiled to, what it costs, what was not fused and why.",
    "sluice explain demo/models/package_encoder/1 --batch 16 --length 64"};

}  // namespace

int RunExplain(const Arguments& arguments) {
  LookFlags look;
  bool graph = false;
  std::vector<Flag> flags;
  AddLookFlags(look, flags);
  AddSwitch("graph", &graph, "the optimised graph, a line a node", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto opened = report::OpenForLooking(positional->front(), look.sizes, look.compile);
  if (!opened.ok()) return Fail(kUsage, opened.error());
  if (graph) {
    std::fputs(opened->model->DumpGraph().c_str(), stdout);
    return kExitOk;
  }
  const report::Roofs roofs = report::MeasureRoofs();
  report::ReportArgs args;
  args.model = positional->front();
  args.opened = &*opened;
  args.roofs = &roofs;
  const auto shown = Show(look, report::MakeReport(args), nullptr);
  return shown.ok() ? kExitOk : Fail(kUsage, shown.error());
}

}  // namespace sluice::bin
