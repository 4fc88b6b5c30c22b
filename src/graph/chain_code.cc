#include "graph/chain_code.h"

#include "base/check.h"

namespace sluice::graph {
namespace {

constexpr size_t kFields = 7;

}  // namespace

void SetChainCode(Node& node, const ChainCode& code) {
  std::vector<int64_t> fields;
  for (const kernels::ChainStep& step : code.steps) {
    fields.push_back(static_cast<int64_t>(step.op));
    for (const kernels::ChainRef& ref : {step.a, step.b, step.c}) {
      fields.push_back(static_cast<int64_t>(ref.kind));
      fields.push_back(ref.index);
    }
  }
  node.Set("steps", std::move(fields));
  node.Set("constants", code.constants);
}

ChainCode GetChainCode(const Node& node) {
  ChainCode code;
  const std::span<const int64_t> fields = node.Ints("steps");
  CHECK_EQ(fields.size() % kFields, size_t{0});
  for (size_t at = 0; at < fields.size(); at += kFields) {
    const auto ref = [&](size_t i) {
      return kernels::ChainRef{static_cast<kernels::ChainRef::Kind>(fields[at + i]),
                               static_cast<uint8_t>(fields[at + i + 1])};
    };
    code.steps.push_back({static_cast<kernels::ChainOp>(fields[at]), ref(1), ref(3), ref(5)});
  }
  const std::span<const float> constants = node.Floats("constants");
  code.constants.assign(constants.begin(), constants.end());
  return code;
}

kernels::ChainProgram MakeChainProgram(const Node& node) {
  const ChainCode code = GetChainCode(node);
  kernels::ChainProgram program;
  program.step_count = static_cast<int>(code.steps.size());
  program.input_count = static_cast<int>(node.inputs.size());
  program.constant_count = static_cast<int>(code.constants.size());
  program.output_count = 1;
  for (size_t i = 0; i < code.steps.size(); ++i) program.steps[i] = code.steps[i];
  for (size_t i = 0; i < code.constants.size(); ++i) program.constants[i] = code.constants[i];
  for (size_t i = 0; i < node.inputs.size(); ++i) program.input_types[i] = node.inputs[i]->dtype;
  program.outputs[0] = {kernels::ChainRef::Kind::kStep,
                        static_cast<uint8_t>(code.steps.size() - 1)};
  program.output_types[0] = node.output()->dtype;
  return program;
}

}  // namespace sluice::graph
