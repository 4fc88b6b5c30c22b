// Runs ONNX's own node tests (PyPI onnx: backend/test/data/node) through the reader and an
// execution of the graph.
//
//   onnx_node_test NODE_FOLDER SKIP_LIST [--mode=NAME] [--filter=TEXT] [--absolute=X] [--verbose]
//
// A test that fails and is not on the skip list fails the run; so does one that is on the list and
// passes, and a row of the list that matches no test. Modes are ways to execute: see modes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "conformance/execution_modes.h"
#include "graph/onnx/reader.h"
#include "graph/onnx/tensor.h"
#include "graph/test_values.h"

namespace sluice::conformance {
namespace {

using base::Result;
using base::Status;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kFileBytesMax = int64_t{64} << 20;

// ---- Comparison ----

// ONNX's default for all float types. Where the expected value itself was rounded to a narrow type,
// one unit in the last place of that type is allowed besides: 2^-10 of f16, 2^-7 of bf16, as ONNX
// Runtime relaxes them.
struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-7;
};
Tolerance ToleranceOf(DType dtype, double absolute) {
  if (dtype == DType::kF16) return {2e-3, std::max(absolute, 1e-5)};
  if (dtype == DType::kBF16) return {1e-2, std::max(absolute, 1e-5)};
  return {1e-3, absolute};
}

Status CompareFloats(const tensor::ConstView& expected, const tensor::ConstView& actual,
                     const std::string& name, double absolute) {
  const Tolerance tolerance = ToleranceOf(expected.dtype, absolute);
  for (int64_t i = 0; i < expected.shape.elements(); ++i) {
    const double e = graph::ValueAt(expected, i);
    const double a = graph::ValueAt(actual, i);
    const bool same = (std::isnan(e) && std::isnan(a)) || e == a ||
                      std::abs(e - a) <= tolerance.absolute + tolerance.relative * std::abs(e);
    if (same) continue;
    return base::Internal(name + "[" + std::to_string(i) + "]: expected " + std::to_string(e) +
                          ", got " + std::to_string(a));
  }
  return base::Ok();
}

Status Compare(const Tensor& expected, const Tensor& actual, const std::string& name,
               double absolute) {
  if (expected.dtype != actual.dtype) {
    return base::Internal(name + ": expected " + std::string(tensor::DTypeName(expected.dtype)) +
                          ", got " + std::string(tensor::DTypeName(actual.dtype)));
  }
  if (expected.shape != actual.shape) {
    return base::Internal(name + ": expected shape " + expected.shape.ToString() + ", got " +
                          actual.shape.ToString());
  }
  const tensor::ConstView e = expected.view();
  const tensor::ConstView a = actual.view();
  if (tensor::IsFloat(e.dtype)) return CompareFloats(e, a, name, absolute);
  if (e.dtype == DType::kBytes) {
    const auto x = e.span<std::string_view>();
    const auto y = a.span<std::string_view>();
    if (std::equal(x.begin(), x.end(), y.begin(), y.end())) return base::Ok();
    return base::Internal(name + ": the strings differ");
  }
  if (e.bytes() == 0 || std::memcmp(e.data, a.data, static_cast<size_t>(e.bytes())) == 0)
    return base::Ok();
  return base::Internal(name + ": the integers differ");
}

// ---- One test ----

struct DataSet {
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
};

Result<std::vector<Tensor>> LoadTensors(const std::string& folder, const std::string& prefix,
                                        size_t count) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < count; ++i) {
    const std::string bytes =
        TRY(base::ReadFile(folder + "/" + prefix + "_" + std::to_string(i) + ".pb", kFileBytesMax));
    tensors.push_back(TRY(graph::ParseTensorProto(bytes)));
  }
  return tensors;
}

Status RunTest(const std::string& folder, const ExecutionMode& mode, double absolute) {
  const graph::OnnxModel model = TRY(graph::ReadOnnxFile(folder + "/model.onnx"));
  const std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder));
  int64_t sets = 0;
  for (const base::FolderEntry& entry : entries) {
    if (!entry.is_folder || entry.name.rfind("test_data_set_", 0) != 0) continue;
    const std::string data = folder + "/" + entry.name;
    const std::vector<Tensor> inputs =
        TRY(LoadTensors(data, "input", model.graph->inputs().size()));
    const std::vector<Tensor> expected =
        TRY(LoadTensors(data, "output", model.graph->outputs().size()));
    const std::vector<Tensor> actual = TRY(mode.run(*model.graph, inputs));
    if (actual.size() != expected.size()) return base::Internal("another number of outputs");
    for (size_t i = 0; i < expected.size(); ++i) {
      TRY(Compare(expected[i], actual[i], model.graph->outputs()[i].name, absolute));
    }
    ++sets;
  }
  if (sets == 0) return base::Internal("no data set");
  return base::Ok();
}

// ---- The skip list: "name-or-glob<space>reason" a row, '#' comments ----

struct SkipRow {
  std::string pattern;
  int64_t hits = 0;
};

bool Matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (size_t skip = 0; skip <= name.size(); ++skip) {
      if (Matches(pattern.substr(1), name.substr(skip))) return true;
    }
    return false;
  }
  return !name.empty() && pattern[0] == name[0] && Matches(pattern.substr(1), name.substr(1));
}

Result<std::vector<SkipRow>> ReadSkips(const std::string& path) {
  const std::string text = TRY(base::ReadFile(path, kFileBytesMax));
  std::vector<SkipRow> rows;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    if (space == std::string::npos) return base::InvalidArgument("a row without a reason: " + line);
    rows.push_back({line.substr(0, space), 0});
  }
  return rows;
}

struct Options {
  std::string folder;
  std::string skips;
  std::string mode = "interpreter";
  std::string filter;
  double absolute = 1e-7;
  bool verbose = false;
};

Result<int> RunAll(const Options& options) {
  const ExecutionMode* mode = FindExecutionMode(options.mode);
  if (mode == nullptr) return base::NotFound("no execution mode '" + options.mode + "'");
  std::vector<SkipRow> skips = TRY(ReadSkips(options.skips));
  const std::vector<base::FolderEntry> tests = TRY(base::ListFolder(options.folder));
  int passed = 0;
  int skipped = 0;
  int wrong = 0;
  int total = 0;
  for (const base::FolderEntry& test : tests) {
    if (!test.is_folder) continue;
    ++total;
    if (test.name.find(options.filter) == std::string::npos) continue;
    SkipRow* skip = nullptr;
    for (SkipRow& row : skips) {
      if (!Matches(row.pattern, test.name)) continue;
      skip = &row;
      ++row.hits;
    }
    const Status status = RunTest(options.folder + "/" + test.name, *mode, options.absolute);
    if (options.verbose && !status.ok())
      std::printf("%s: %s\n", test.name.c_str(), status.error().message.c_str());
    if (status.ok() && skip == nullptr) {
      ++passed;
    } else if (!status.ok() && skip != nullptr) {
      ++skipped;
    } else if (status.ok()) {
      ++wrong;
      std::printf("LISTED BUT PASSES %s (row '%s')\n", test.name.c_str(), skip->pattern.c_str());
    } else {
      ++wrong;
      std::printf("FAILED %s: %s\n", test.name.c_str(), status.error().message.c_str());
    }
  }
  for (const SkipRow& row : skips) {
    if (row.hits > 0 || !options.filter.empty()) continue;
    ++wrong;
    std::printf("NO SUCH TEST: row '%s' of the skip list\n", row.pattern.c_str());
  }
  std::printf("onnx node tests: %d passed, %d skipped of %d\n", passed, skipped, total);
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sluice::conformance

int main(int argc, char** argv) {
  sluice::conformance::Options options;
  std::vector<std::string> positional;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--mode=", 0) == 0) {
      options.mode = argument.substr(7);
    } else if (argument.rfind("--filter=", 0) == 0) {
      options.filter = argument.substr(9);
    } else if (argument.rfind("--absolute=", 0) == 0) {
      options.absolute = std::strtod(argument.c_str() + 11, nullptr);
    } else if (argument == "--verbose") {
      options.verbose = true;
    } else {
      positional.push_back(argument);
    }
  }
  if (positional.size() != 2) {
    std::fprintf(
        stderr,
        "usage: onnx_node_test NODE_FOLDER SKIP_LIST [--mode=NAME] [--filter=TEXT] [--absolute=X] "
        "[--verbose]\n");
    return 2;
  }
  options.folder = positional[0];
  options.skips = positional[1];
  const auto result = sluice::conformance::RunAll(options);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    return 2;
  }
  return *result;
}
