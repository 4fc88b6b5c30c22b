// Reads an ONNX model into the IR: functions inlined, initialisers as constants, subgraphs closed,
// every value typed. Never trusts the file. What an op means is op.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "graph/ir.h"

namespace sluice::graph {

struct OnnxReadOptions {
  GraphLimits limits;
  int64_t file_bytes_max = INT32_MAX;  // the protocol buffer itself; protobuf takes no more.
                                       // External data is not counted
  // Inputs that are sequences of tensors, and how many they hold, 0 to kSequenceLengthMax: input
  // `x` becomes inputs `x.0`, `x.1`, and so on. An output that is a sequence becomes as many
  // outputs.
  std::map<std::string, int64_t, std::less<>> sequence_lengths;
  // Inputs that are these constants instead: what picks from a sequence, counts or cuts one has to
  // be known.
  std::map<std::string, tensor::Tensor, std::less<>> known_inputs;
};

// An input as the file declares it; what an initializer gives is none.
struct OnnxInput {
  std::string name;
  bool sequence = false;
};

// A model as read: its graph, typed and verified, and where it came from.
struct OnnxModel {
  std::unique_ptr<Graph> graph;
  std::string producer;  // "pytorch 2.4.0"
  int64_t ir_version = 0;
  int opset = 0;  // of the standard domain
};

// `path` names the .onnx file; external data must lie in its folder. kInvalidArgument names the
// node or tensor that is wrong, kUnimplemented the op, type or feature that we do not have,
// kResourceExhausted the limit.
base::Result<OnnxModel> ReadOnnxFile(const std::string& path, const OnnxReadOptions& options = {});
// The same from memory. External data is read below `folder`, refused when null.
base::Result<OnnxModel> ReadOnnx(std::string_view bytes, const base::FileHandle* folder = nullptr,
                                 const OnnxReadOptions& options = {});

// In the file's order: what OnnxReadOptions may have to tell of.
base::Result<std::vector<OnnxInput>> ListOnnxInputs(std::string_view bytes);

}  // namespace sluice::graph
