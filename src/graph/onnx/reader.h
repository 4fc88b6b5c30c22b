// Reads an ONNX model into the IR: functions inlined, initialisers as constants, subgraphs closed,
// every value typed. Never trusts the file. What an op means is op.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/result.h"
#include "graph/ir.h"

namespace sluice::graph {

struct OnnxReadOptions {
  GraphLimits limits;
  int64_t file_bytes_max = INT32_MAX;  // the protocol buffer itself; protobuf takes no more.
                                       // External data is not counted
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

}  // namespace sluice::graph
