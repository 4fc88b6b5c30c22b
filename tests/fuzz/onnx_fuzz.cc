// Any bytes as an ONNX model: read, typed, verified and, where its interface is small, run once.
// Nothing may crash, and no limit may be passed.
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "graph/interpreter.h"
#include "graph/onnx_reader.h"

namespace sluice {
namespace {

constexpr int64_t kExtent = 2;  // of every dimension that the model leaves open
constexpr int64_t kInputBytesMax = 1 << 16;

graph::OnnxReadOptions SmallLimits() {
  graph::OnnxReadOptions options;
  options.limits.nodes_max = 1000;
  options.limits.nesting_max = 4;
  options.limits.tensor_bytes_max = 1 << 20;
  options.limits.inline_bytes_max = 1 << 22;
  return options;
}

// Inputs for the interface with every symbol at kExtent; nullopt when they would be large.
std::optional<std::vector<tensor::Tensor>> MakeInputs(const graph::Graph& graph) {
  std::vector<tensor::Tensor> inputs;
  for (const graph::Value* value : graph.inputs()) {
    tensor::Shape shape;
    if (value->shape.has_value()) {
      for (const graph::Dim dim : *value->shape)
        shape.Append(dim.is_constant() ? dim.constant() : kExtent);
    }
    if (value->dtype == tensor::DType::kBytes) {
      const auto checked = tensor::CheckedBytes(shape, 16);
      if (!checked.ok() || *checked > kInputBytesMax) return std::nullopt;
      inputs.push_back(tensor::Tensor::FromStrings(
          shape, std::vector<std::string>(static_cast<size_t>(shape.elements()), "a")));
      continue;
    }
    base::Result<tensor::Tensor> tensor =
        tensor::Tensor::Allocate(value->dtype, shape, kInputBytesMax);
    if (!tensor.ok()) return std::nullopt;
    std::memset(tensor->buffer.mutable_data(), 1, static_cast<size_t>(tensor->buffer.bytes()));
    inputs.push_back(*std::move(tensor));
  }
  return inputs;
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const base::Result<graph::OnnxModel> model = graph::ReadOnnx(bytes, nullptr, SmallLimits());
  if (!model.ok()) {
    // A graph that the reader made and the verifier refuses is the reader's fault.
    CHECK(model.error().code != base::Code::kInternal) << model.error().message;
    return 0;
  }
  const std::optional<std::vector<tensor::Tensor>> inputs = MakeInputs(*model->graph);
  if (!inputs.has_value()) return 0;
  const auto outputs =
      graph::Interpreter(*model->graph,
                         {.bytes_max = 1 << 20, .work_max = 1 << 24, .iterations_max = 64})
          .Run(*inputs);
  CHECK(outputs.ok() || outputs.error().code != base::Code::kInternal) << outputs.error().message;
  return 0;
}
