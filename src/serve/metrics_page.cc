#include "serve/metrics_page.h"

#include <sys/resource.h>

#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "engine/measure.h"
#include "serve/oip/http_answers.h"
#include "serve/prep_pool.h"

namespace sluice::serve {

namespace {

using Snapshot = engine::Statistics::Snapshot;

struct Row {
  Router::Pin pin;
  Snapshot counts;
  std::string labels;  // model="m",version="1": names of models hold nothing that needs an escape
};

class Page {
 public:
  void Family(const char* name, const char* kind, const char* help) {
    name_ = name;
    out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + kind + "\n";
  }
  void Value(const std::string& labels, int64_t value) {
    Line(name_, labels, std::to_string(value));
  }
  void Value(const std::string& labels, double value) {
    std::string text;
    base::AppendJsonDouble(value, text);
    Line(name_, labels, text);
  }
  // Bounds and sum are divided by `scale`.
  void Distribution(const std::string& labels, const base::Histogram& histogram, double scale) {
    base::Histogram::Snapshot taken = histogram.Read();
    int64_t below = 0;
    for (size_t i = 0; i <= histogram.bounds().size(); ++i) {
      below += taken.counts[i];
      std::string bound = "+Inf";
      if (i < histogram.bounds().size()) {
        bound.clear();
        base::AppendJsonDouble(histogram.bounds()[i] / scale, bound);
      }
      Line(name_ + "_bucket", labels + ",le=\"" + bound + "\"", std::to_string(below));
    }
    std::string sum;
    base::AppendJsonDouble(taken.sum / scale, sum);
    Line(name_ + "_sum", labels, sum);
    Line(name_ + "_count", labels, std::to_string(below));
  }
  std::string out;

 private:
  void Line(const std::string& name, const std::string& labels, const std::string& value) {
    out += labels.empty() ? name + " " + value + "\n" : name + "{" + labels + "} " + value + "\n";
  }
  std::string name_;
};

void WriteTritonNames(const std::vector<Row>& rows, Page& page) {
  page.Family("nv_inference_request_success", "counter", "Requests answered with success");
  for (const Row& r : rows) page.Value(r.labels, r.counts.success.count);
  page.Family("nv_inference_request_failure", "counter", "Requests that failed, by reason");
  for (const Row& r : rows) {
    const engine::Refusals& no = r.counts.refusals;
    int64_t rejected =
        no.queue_full + no.deadline_admission + no.deadline_queue + no.deadline_step + no.draining;
    int64_t cancelled = r.counts.cancelled.count;
    page.Value(r.labels + ",reason=\"REJECTED\"", rejected);
    page.Value(r.labels + ",reason=\"CANCELED\"", cancelled);
    page.Value(r.labels + ",reason=\"BACKEND\"",
               std::max<int64_t>(0, r.counts.fail.count - rejected - cancelled));
    page.Value(r.labels + ",reason=\"OTHER\"", r.pin->malformed.value());
  }
  page.Family("nv_inference_count", "counter", "Rows of batch answered");
  for (const Row& r : rows) page.Value(r.labels, r.counts.inference_count);
  page.Family("nv_inference_exec_count", "counter", "Steps executed");
  for (const Row& r : rows) page.Value(r.labels, r.counts.execution_count);
  page.Family("nv_inference_pending_request_count", "gauge", "Requests not answered yet");
  for (const Row& r : rows) page.Value(r.labels, r.counts.pending);
  struct Sum {
    const char* name;
    const char* help;
    const engine::CountTime Snapshot::*of;
  };
  constexpr Sum kSums[] = {
      {"nv_inference_request_duration_us", "Time from arrival in the loop to the answer",
       &Snapshot::success},
      {"nv_inference_queue_duration_us", "Time in the queue", &Snapshot::queue},
      {"nv_inference_compute_input_duration_us", "Time gathering inputs", &Snapshot::input},
      {"nv_inference_compute_infer_duration_us", "Time computing", &Snapshot::infer},
      {"nv_inference_compute_output_duration_us", "Time taking outputs apart", &Snapshot::output},
  };
  for (const Sum& sum : kSums) {
    page.Family(sum.name, "counter", sum.help);
    for (const Row& r : rows) page.Value(r.labels, (r.counts.*sum.of).ns / 1000);
  }
}

void WriteOurNames(const std::vector<Row>& rows, Page& page) {
  constexpr double kMicros = 1e6;
  page.Family("sluice_queue_seconds", "histogram", "Time in the queue of answered requests");
  for (const Row& r : rows)
    page.Distribution(r.labels, *r.pin->engine->statistics().histograms().queue_us, kMicros);
  page.Family("sluice_step_seconds", "histogram", "Compute time of steps");
  for (const Row& r : rows)
    page.Distribution(r.labels, *r.pin->engine->statistics().histograms().step_us, kMicros);
  page.Family("sluice_step_rows", "histogram", "Rows of steps");
  for (const Row& r : rows)
    page.Distribution(r.labels, *r.pin->engine->statistics().histograms().step_rows, 1);
  page.Family("sluice_deadline_slack_seconds", "histogram",
              "Deadline minus answer, of what was in time");
  for (const Row& r : rows)
    page.Distribution(r.labels, *r.pin->engine->statistics().histograms().slack_us, kMicros);
  page.Family("sluice_refused_total", "counter", "Requests refused or dropped, by reason");
  for (const Row& r : rows) {
    const engine::Refusals& no = r.counts.refusals;
    page.Value(r.labels + ",reason=\"queue_full\"", no.queue_full);
    page.Value(r.labels + ",reason=\"deadline_admission\"", no.deadline_admission);
    page.Value(r.labels + ",reason=\"deadline_queue\"", no.deadline_queue);
    page.Value(r.labels + ",reason=\"deadline_step\"", no.deadline_step);
    page.Value(r.labels + ",reason=\"cancelled\"", r.counts.cancelled.count);
    page.Value(r.labels + ",reason=\"draining\"", no.draining);
    page.Value(r.labels + ",reason=\"malformed\"", r.pin->malformed.value());
  }
  page.Family("sluice_late_total", "counter", "Requests answered after their deadline");
  for (const Row& r : rows) page.Value(r.labels, r.counts.late);
  page.Family("sluice_steps_abandoned_total", "counter",
              "Steps not run to their end: nobody could use the answers any more");
  for (const Row& r : rows) page.Value(r.labels, r.counts.abandoned);
  page.Family("sluice_model_memory_bytes", "gauge",
              "Resident and reserved bytes of a model, by purpose");
  for (const Row& r : rows) {
    engine::MemoryUse use = r.pin->engine->engine().memory();
    page.Value(r.labels + ",purpose=\"weights\"", use.weights_bytes);
    page.Value(r.labels + ",purpose=\"activations\"", use.activation_bytes);
    page.Value(r.labels + ",purpose=\"state\"", use.state_bytes);
  }
}

// What engines count of themselves, family by family: a name stands once on a page.
void WriteMeasures(const std::vector<Row>& rows, Page& page) {
  struct Shown {
    const engine::Measure* measure;
    std::string labels;
  };
  struct Group {
    const engine::Measure* first;
    std::vector<Shown> shown;
  };
  std::vector<Group> groups;
  std::unordered_map<std::string_view, size_t> group_of;
  for (const Row& r : rows) {
    for (const engine::Measure& measure : r.pin->engine->engine().measures()) {
      std::string labels = std::string(measure.model_label) + "=\"" + r.pin->name +
                           "\",version=\"" + r.pin->version_text + "\"";
      for (const auto& [name, value] : measure.labels) labels += "," + name + "=\"" + value + "\"";
      const auto [at, added] = group_of.emplace(measure.name, groups.size());
      if (added) groups.push_back({&measure, {}});
      groups[at->second].shown.push_back({&measure, std::move(labels)});
    }
  }
  for (const Group& group : groups) {
    const engine::Measure& first = *group.first;
    page.Family(first.name.c_str(),
                first.counter != nullptr ? "counter"
                : first.gauge != nullptr ? "gauge"
                                         : "histogram",
                first.help.c_str());
    for (const Shown& shown : group.shown) {
      if (shown.measure->counter != nullptr) {
        page.Value(shown.labels, shown.measure->counter->value());
      } else if (shown.measure->gauge != nullptr) {
        page.Value(shown.labels, shown.measure->gauge->value());
      } else {
        page.Distribution(shown.labels, *shown.measure->histogram, 1);
      }
    }
  }
}

void WriteProcess(const Service& service, const ListenerCounts& listeners, Page& page) {
  page.Family("sluice_ready", "gauge", "1 when the server is ready");
  page.Value("", static_cast<int64_t>(service.ready()));
  if (listeners.http != nullptr) {
    page.Family("sluice_http_connections", "gauge", "Open HTTP connections");
    page.Value("", listeners.http->connections.load(std::memory_order_relaxed));
    page.Family("sluice_http_connections_refused_total", "counter",
                "Connections closed at the limit");
    page.Value("", listeners.http->connections_refused.load(std::memory_order_relaxed));
    page.Family("sluice_http_accept_failures_total", "counter",
                "Times when connections could not be taken: out of descriptors or memory");
    page.Value("", listeners.http->accept_failures.load(std::memory_order_relaxed));
    page.Family("sluice_http_in_flight", "gauge", "HTTP requests not answered yet");
    page.Value("", listeners.http->requests_in_flight.load(std::memory_order_relaxed));
    page.Family("sluice_http_faults_total", "counter",
                "HTTP requests refused before a route saw them");
    page.Value("", listeners.http->faults.load(std::memory_order_relaxed));
    page.Family("sluice_http_streams", "gauge", "HTTP answers in parts that are not at their end");
    page.Value("", listeners.http->streams.load(std::memory_order_relaxed));
    page.Family("sluice_http_streams_stalled_total", "counter",
                "HTTP answers in parts cut off because nobody took them");
    page.Value("", listeners.http->stalled.load(std::memory_order_relaxed));
  }
  if (listeners.grpc_in_flight != nullptr) {
    page.Family("sluice_grpc_in_flight", "gauge", "gRPC calls not answered yet");
    page.Value("", listeners.grpc_in_flight->load(std::memory_order_relaxed));
  }
  page.Family("sluice_unknown_fields_total", "counter",
              "Fields of requests that nobody knows, accepted");
  page.Value("", service.unknown_fields.load(std::memory_order_relaxed));
  if (service.prep != nullptr) {
    page.Family("sluice_prep_bytes", "gauge", "Payloads of requests that wait to be prepared");
    page.Value("", service.prep->bytes());
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  page.Family("process_cpu_seconds_total", "counter", "Processor time of the process");
  page.Value("", seconds(usage.ru_utime) + seconds(usage.ru_stime));
  page.Family("sluice_build_info", "gauge", "The version that runs");
  page.Value("version=\"" + std::string(kServerVersion) + "\"", int64_t{1});
}

}  // namespace

std::string WriteMetrics(const Service& service, const ListenerCounts& listeners,
                         const std::string& extra) {
  std::vector<Row> rows;
  for (Router::Pin& pin : service.router->All()) {
    std::string labels = "model=\"" + pin->name + "\",version=\"" + pin->version_text + "\"";
    Snapshot counts = pin->Counts();
    rows.push_back({std::move(pin), std::move(counts), std::move(labels)});
  }
  Page page;
  WriteTritonNames(rows, page);
  WriteOurNames(rows, page);
  WriteMeasures(rows, page);
  WriteProcess(service, listeners, page);
  return page.out + extra;
}

void MetricsPage::Handle(const HttpRequest& request, const HttpExchange& exchange) {
  std::string_view path = request.target.substr(0, request.target.find('?'));
  if (path != "/metrics") return exchange.RespondHere(ErrorAnswer(404, "Not Found"));
  if (request.method != "GET" && request.method != "HEAD") {
    return exchange.RespondHere(ErrorAnswer(405, "Method Not Allowed"));
  }
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = WriteMetrics(service_, listeners_, extra_ ? extra_() : std::string());
  CompressAnswer(request.header("Accept-Encoding"), response);
  exchange.RespondHere(std::move(response));
}

}  // namespace sluice::serve
