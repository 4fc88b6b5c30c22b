// Loops that collect rows in a sequence, as exporters write nn.EmbeddingBag, told with tensors.
#pragma once

#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

// A Loop that carries a sequence from SequenceEmpty, inserts one tensor an iteration and is read by
// ConcatFromSequence(axis 0) alone stacks those tensors as a scan output instead, which is then
// reshaped. Other sequences stay, and are refused where they are read. Needs opset 15.
void RewriteSequences(onnx::GraphProto& graph, int64_t opset);

}  // namespace sluice::graph
