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
constexpr int64_t kModelBytesMax = int64_t{1} << 30;

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

// One file of test data: a tensor, or the tensors of a sequence.
struct Datum {
  std::vector<Tensor> tensors;
  bool sequence = false;
};

Result<std::string> ReadData(const std::string& folder, const std::string& prefix, size_t i) {
  return base::ReadFile(folder + "/" + prefix + "_" + std::to_string(i) + ".pb", kFileBytesMax);
}

// A SequenceProto: its name (field 1) and element type (field 2), and the tensors of field 3.
Result<std::vector<Tensor>> ParseTensors(std::string_view bytes) {
  std::vector<Tensor> tensors;
  size_t at = 0;
  const auto number = [&bytes, &at]() {
    uint64_t value = 0;
    for (int shift = 0; at < bytes.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      value |= static_cast<uint64_t>(byte & 127U) << shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < bytes.size()) {
    const uint64_t key = number();
    if ((key & 7U) == 0) {
      (void)number();
      continue;
    }
    const uint64_t length = number();
    if ((key & 7U) != 2 || length > bytes.size() - at)
      return base::InvalidArgument("test data are no sequence of tensors");
    if (key >> 3 == 3) tensors.push_back(TRY(graph::ParseTensorProto(bytes.substr(at, length))));
    at += length;
  }
  return tensors;
}

Result<std::vector<Datum>> LoadInputs(const std::string& folder,
                                      const std::vector<graph::OnnxInput>& inputs) {
  std::vector<Datum> data;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string bytes = TRY(ReadData(folder, "input", i));
    Datum datum;
    datum.sequence = inputs[i].sequence;
    if (datum.sequence) {
      datum.tensors = TRY(ParseTensors(bytes));
    } else {
      datum.tensors.push_back(TRY(graph::ParseTensorProto(bytes)));
    }
    data.push_back(std::move(datum));
  }
  return data;
}

// Outputs `y.0`, `y.1`, ... of the graph are one sequence in the data.
Result<std::vector<Tensor>> LoadOutputs(const std::string& folder, const graph::Graph& graph) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; tensors.size() < graph.outputs().size(); ++i) {
    const std::string bytes = TRY(ReadData(folder, "output", i));
    const std::string& name = graph.outputs()[tensors.size()].name;
    if (name.size() < 2 || name.substr(name.size() - 2) != ".0") {
      tensors.push_back(TRY(graph::ParseTensorProto(bytes)));
      continue;
    }
    for (Tensor& tensor : TRY(ParseTensors(bytes))) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// The model for inputs like `data`: lengths of sequences are told, and where that is not enough,
// counts and positions as well.
Result<graph::OnnxModel> ReadModel(const std::string& path,
                                   const std::vector<graph::OnnxInput>& inputs,
                                   const std::vector<Datum>& data,
                                   graph::OnnxReadOptions& options) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!data[i].sequence) continue;
    options.sequence_lengths[inputs[i].name] = static_cast<int64_t>(data[i].tensors.size());
  }
  Result<graph::OnnxModel> model = graph::ReadOnnxFile(path, options);
  if (model.ok() || model.error().message.find("known when the model is read") == std::string::npos)
    return model;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (data[i].sequence) continue;
    const Tensor& tensor = data[i].tensors.front();
    if (tensor.shape.rank() <= 1 && (tensor.dtype == DType::kI64 || tensor.dtype == DType::kBool)) {
      options.known_inputs[inputs[i].name] = tensor;
    }
  }
  return graph::ReadOnnxFile(path, options);
}

Status RunData(const std::string& path, const std::string& data_folder,
               const std::vector<graph::OnnxInput>& inputs, const ExecutionMode& mode,
               double absolute) {
  const std::vector<Datum> data = TRY(LoadInputs(data_folder, inputs));
  graph::OnnxReadOptions options;
  const graph::OnnxModel model = TRY(ReadModel(path, inputs, data, options));
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (options.known_inputs.count(inputs[i].name) > 0) continue;
    tensors.insert(tensors.end(), data[i].tensors.begin(), data[i].tensors.end());
  }
  const std::vector<Tensor> expected = TRY(LoadOutputs(data_folder, *model.graph));
  const std::vector<Tensor> actual = TRY(mode.run(*model.graph, tensors));
  if (actual.size() != expected.size()) return base::Internal("another number of outputs");
  for (size_t i = 0; i < expected.size(); ++i) {
    TRY(Compare(expected[i], actual[i], model.graph->outputs()[i].name, absolute));
  }
  return base::Ok();
}

Status RunTest(const std::string& folder, const ExecutionMode& mode, double absolute) {
  const std::string path = folder + "/model.onnx";
  const std::string bytes = TRY(base::ReadFile(path, kModelBytesMax));
  const std::vector<graph::OnnxInput> inputs = TRY(graph::ListOnnxInputs(bytes));
  int64_t sets = 0;
  for (const base::FolderEntry& entry : TRY(base::ListFolder(folder))) {
    if (!entry.is_folder || entry.name.rfind("test_data_set_", 0) != 0) continue;
    TRY(RunData(path, folder + "/" + entry.name, inputs, mode, absolute));
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
