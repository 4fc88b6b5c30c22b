// ONNX AttributeProtos to typed attributes, with a function's references resolved. Part of the
// reader.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "graph/ir.h"
#include "graph/onnx/tensor.h"

namespace onnx {
class AttributeProto;
class FunctionProto;
class NodeProto;
}  // namespace onnx

namespace sluice::graph {

// What the attributes of a function mean for one call of it: name to the value given or the
// default; absent when neither.
using AttributeEnvironment = std::map<std::string, const onnx::AttributeProto*>;

// The environment inside `function` when `call`, itself in `outer` (null outside of functions),
// calls it.
base::Result<AttributeEnvironment> CallEnvironment(const onnx::NodeProto& call,
                                                   const onnx::FunctionProto& function,
                                                   const AttributeEnvironment* outer);

// `proto` with its references to a function's attributes replaced by what they refer to, or left
// out where the call gives nothing.
base::Result<onnx::NodeProto> ResolveAttributes(const onnx::NodeProto& proto,
                                                const AttributeEnvironment* environment);

// Fills node->attributes; graphs are left to the reader. kInvalidArgument for attributes that no op
// has, of a type that is not theirs, or listed twice.
base::Status ReadAttributes(const onnx::NodeProto& proto, const AttributeEnvironment* environment,
                            TensorSource& source, Node* node);

// The tensor of a Constant node, from whichever of its attributes is there.
base::Result<tensor::Tensor> ReadConstantValue(const onnx::NodeProto& proto,
                                               const AttributeEnvironment* environment,
                                               TensorSource& source);

}  // namespace sluice::graph
