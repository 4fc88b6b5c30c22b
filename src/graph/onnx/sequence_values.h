// Sequences of tensors whose lengths are known while a model is read: such a sequence is a list of
// values, and the operators on it leave nothing in the graph but what they do to its elements.
// Loops over sequences are read_sequences.cc's; those that collect rows of a loop of unknown length
// are sequences.h's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "graph/ir.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

// Tensors of one sequence, and iterations of a loop that is unrolled over one.
inline constexpr int64_t kSequenceLengthMax = 1024;
// Elements of all sequences of a model, each counted again in every sequence that holds it.
inline constexpr int64_t kSequenceElementsMax = int64_t{4} << 20;

// In order; all of one graph.
using SequenceElements = std::vector<Value*>;

// What a name means: a value, a sequence, or neither, an optional input that is absent.
struct Operand {
  Value* value = nullptr;
  std::optional<SequenceElements> elements;
};

// The one element of an integer value, and the truth of a boolean, where they are known.
std::optional<int64_t> KnownInteger(const Value* value);
std::optional<bool> KnownTruth(const Value* value);

bool IsSequenceOp(std::string_view op);

// Reads nodes with these inputs into the graph; the values that its outputs mean.
using ReadSpelled = base::FunctionRef<base::Result<std::vector<Value*>>(
    const onnx::FunctionProto&, const std::vector<Value*>&)>;

// What the first output of an operator of IsSequenceOp, or of Identity, means. kUnimplemented where
// a position or a length is not known. `spelled` is read with the operators of kContribBodyOpset.
base::Result<Operand> ReadSequenceOp(const onnx::NodeProto& node, std::span<const Operand> inputs,
                                     Graph& graph, ReadSpelled spelled);

}  // namespace sluice::graph
