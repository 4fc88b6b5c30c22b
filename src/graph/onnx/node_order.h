// The order in which a list of ONNX nodes is read.
#pragma once

#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

using NodeProtos = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

// "node 'name' (Op): ", for messages.
std::string Describe(const onnx::NodeProto& node);

// Every name that a node reads, also inside its subgraphs (names made there as well: harmless for
// ordering).
void NamesRead(const onnx::NodeProto& node, std::vector<const std::string*>& names);

// Nodes in an order in which every value is made before it is read: the file's own where that is
// one. `known` are names that are made before. kInvalidArgument names a node of a cycle, or one
// that makes what another makes.
base::Result<std::vector<const onnx::NodeProto*>> OrderNodes(
    const NodeProtos& nodes, base::FunctionRef<bool(const std::string&)> known);

}  // namespace sluice::graph
