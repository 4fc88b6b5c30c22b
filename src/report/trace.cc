#include "report/trace.h"

#include "base/json.h"

namespace sluice::report {

std::string ToChromeTrace(const Opened& opened, const Timing& timing) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("displayTimeUnit").String("ns").Key("traceEvents").BeginArray();
  const int64_t start = timing.begin_ns.empty() ? 0 : timing.begin_ns[0];
  for (size_t i = 0; i < opened.plan->infos.size(); ++i) {
    if (opened.plan->steps[i].tiles == 0) continue;
    const graph::StepInfo& info = opened.plan->infos[i];
    json.BeginObject().Key("name").String(info.kind).Key("ph").String("X");
    json.Key("pid").Int(1).Key("tid").Int(1);
    json.Key("ts").Double(static_cast<double>(timing.begin_ns[i] - start) / 1e3);
    json.Key("dur").Double(static_cast<double>(timing.median_ns[i]) / 1e3);
    json.Key("args").BeginObject().Key("label").String(info.label);
    json.Key("detail").String(info.detail).Key("flops").Int(info.work.flops);
    json.Key("bytes").Int(info.work.bytes).EndObject().EndObject();
  }
  json.EndArray().EndObject();
  return out;
}

}  // namespace sluice::report
