// The co-design report: what one model costs on this machine, where the time goes and what to
// change. Made by MakeReport, told by text.h, json.h and html.h; `sluice explain` and `sluice
// profile` show the same one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "report/measure.h"
#include "report/opened_model.h"
#include "report/roofs.h"

namespace sluice::report {

// Why time is lost. Every microsecond of a run is in exactly one of these or in the time that the
// same work would take at the roof.
enum class Cause : uint8_t {
  kUnfused,    // traffic between steps that one fused step would not have
  kPadding,    // rows that are there only to make sequences equally long
  kNarrow,     // columns that a product computes because its vectors are wider than the matrix
  kReference,  // a step without a vector kernel
  kGather,     // rows read at random from a table
  kFixed,      // steps so small that calling them costs more than their work
  kKernel,     // a kernel below the roof
  kAlone,      // requests that are not joined; not a part of one run's time
};
inline constexpr int kCauseCount = 8;
std::string_view CauseName(Cause cause);   // "unfused", …: stable, in JSON
std::string_view CauseTitle(Cause cause);  // for people

// What bars are stacked of: "products", "attention", "look-ups", "interactions", "rows",
// "elementwise", "moves", "reference", "other".
std::string_view FamilyOf(std::string_view kind);

// One step of the plan.
struct StepRow {
  std::string kind;
  std::string label;
  std::string detail;
  int layer = 0;  // index into Report::layers
  int64_t flops = 0;
  int64_t bytes = 0;
  double us = 0;                 // median measured, or predicted
  double roof_us = 0;            // the same work at the roof
  double intensity = 0;          // flops a byte
  double peak_gflops = 0;        // of the instructions that compute it
  double attainable_gflops = 0;  // min(peak, intensity * bandwidth); 0 without flops
  std::string_view bound;        // "arithmetic", "memory" or "fixed cost"
  std::string_view level;  // the cache whose bandwidth is its roof: "L1", "L2", "L3", "memory"
  bool reference = false;
  int64_t unfused_bytes = 0;
  std::string unfused_why;
  double lost_us[kCauseCount] = {};

  double roof_percent() const { return us > 0 ? 100 * roof_us / us : 0; }
};

// Steps of one module of the exporter's program, or of one table, input or output.
struct Group {
  std::string name;
  std::string kind;    // of a layer "layer"; of a feature "table", "input", "inputs" or "output"
  std::string detail;  // of a table "12,288 x 256 FP16, 6.0 MiB"
  int64_t steps = 0;
  int64_t flops = 0;
  int64_t bytes = 0;
  int64_t unfused_bytes = 0;
  double us = 0;
  double roof_us = 0;
  std::vector<double> family_us;  // by Report::families; layers only

  double roof_percent() const { return us > 0 ? 100 * roof_us / us : 0; }
};

struct Loss {
  Cause cause = Cause::kKernel;
  double us = 0;
  std::string what;    // "layer_norm reads what linear has just written: 1.5 MiB"
  std::string remedy;  // what would lift it
  std::vector<int> steps;
};

struct Bytes {
  std::string name;  // "FP32", "packed FP32", …
  int64_t bytes = 0;
};

struct Report {
  std::string model;  // the path
  std::string producer;
  int opset = 0;
  std::string machine;
  std::string target;  // "avx512"
  Roofs roofs;
  bool measured = false;  // else times are predicted
  int64_t runs = 0;
  std::vector<graph::TensorInterface> inputs;
  std::vector<graph::TensorInterface> outputs;
  std::vector<tensor::Shape> shapes;  // of the inputs, as planned
  bool joined = false;
  std::string batching;          // the proof, or which node stood in the way
  bool packed = false;           // requests run as packed rows, without their padding
  std::string packed_reason;     // what stood in the way
  int64_t packed_sequences = 0;  // in the rows that this report is of; 0: it is of padded ones
  int64_t packed_rows = 0;
  int64_t packed_shortest = 0;
  int64_t packed_longest = 0;
  bool interpreted = false;
  std::string interpreted_reason;

  std::vector<StepRow> steps;
  std::vector<std::string> families;  // those that occur (FamilyOf)
  std::vector<Group> layers;
  std::vector<Group> features;
  std::vector<Loss> losses;  // largest first
  double lost_us[kCauseCount] = {};
  double us = 0;
  double roof_us = 0;
  int64_t flops = 0;
  int64_t bytes = 0;
  int64_t unfused_bytes = 0;
  double padding_percent = 0;  // of the rows, where a mean length was told

  std::vector<Bytes> weights;  // resident, by element type
  int64_t weights_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t activation_bytes_unshared = 0;
  int64_t interface_bytes = 0;  // inputs and outputs of one run

  std::vector<graph::PassReport> passes;
  std::vector<graph::NearMiss> not_fused;
};

struct ReportArgs {
  std::string model;
  const Opened* opened = nullptr;
  const Roofs* roofs = nullptr;
  const Timing* timing = nullptr;  // null: predicted
  double alone_us = 0;  // what a row costs less when requests are joined; 0: not measured
};
Report MakeReport(const ReportArgs& args);

// "unknown" where the file does not tell.
std::string ProducerOf(const Report& report);

// What the report is of where rows are packed: "368 rows packed of 16 sequences of 1 to 64 tokens";
// else "".
std::string PackingText(const Report& report);

// How many losses the renderers show.
inline constexpr size_t kLossesShown = 5;

}  // namespace sluice::report
