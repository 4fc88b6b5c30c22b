#include "graph/lower/reference_step.h"

#include <cstring>
#include <memory>
#include <vector>

#include "graph/op.h"

namespace sluice::graph {
namespace {

// Followed in the argument block by the views.
struct Header {
  const Node* node = nullptr;
  RunState* state = nullptr;
  const tensor::ConstView* inputs = nullptr;
  const tensor::View* outputs = nullptr;
  int64_t input_count = 0;
};
static_assert(sizeof(Header) % alignof(tensor::View) == 0);

// Hands out the plan's memory and checks that the op agrees with the plan.
class PlannedContext : public RunContext {
 public:
  explicit PlannedContext(const Header& header) : RunContext(*header.node), header_(header) {
    inputs_ = {header.inputs, static_cast<size_t>(header.input_count)};
  }

  base::Result<tensor::View> Output(size_t i, tensor::DType dtype,
                                    const tensor::Shape& shape) override {
    const tensor::View& view = header_.outputs[i];
    if (view.dtype != dtype || !(view.shape == shape)) {
      return base::Internal("node '" + node().name + "': the plan expects " +
                            view.shape.ToString() + ", the kernel makes " + shape.ToString());
    }
    return view;
  }
  base::Status Forward(size_t i, size_t from, const tensor::Shape& shape) override {
    const tensor::View view = TRY(Output(i, inputs_[from].dtype, shape));
    std::memcpy(view.data, inputs_[from].data, static_cast<size_t>(view.bytes()));
    return base::Ok();
  }
  base::Result<std::byte*> Scratch(int64_t bytes) override {
    scratch_.push_back(tensor::Buffer::Allocate(bytes));
    return scratch_.back().mutable_data();
  }
  base::Result<std::vector<tensor::Tensor>> RunSubgraph(const Graph&,
                                                        std::span<const tensor::Tensor>) override {
    return base::Unimplemented("control flow in a compiled program");
  }
  base::Result<tensor::Tensor> InputTensor(size_t) override {
    return base::Unimplemented("shared tensors in a compiled program");
  }
  base::Status SetOutput(size_t i, tensor::Tensor tensor) override {
    const tensor::View view = TRY(Output(i, tensor.dtype, tensor.shape));
    std::memcpy(view.data, tensor.buffer.data(), static_cast<size_t>(view.bytes()));
    return base::Ok();
  }

 private:
  const Header& header_;
  std::vector<tensor::Buffer> scratch_;
};

void RunReference(const void* block, kernels::Tiles) {
  const Header& header = *static_cast<const Header*>(block);
  PlannedContext context(header);
  base::Status status = header.node->op->run(context);
  if (!status.ok() && header.state->Claim()) {
    header.state->message = std::make_unique<std::string>(status.error().message).release();
  }
}

}  // namespace

void AddReferenceStep(ProgramBuilder& builder, const Node& node,
                      std::span<const ReferenceOperand> inputs,
                      std::span<const ReferenceOperand> outputs, kernels::Work work,
                      StepInfo info) {
  const size_t views = inputs.size() + outputs.size();
  std::vector<std::byte> block(sizeof(Header) + views * sizeof(tensor::View));
  Header header;
  header.node = &node;
  header.input_count = static_cast<int64_t>(inputs.size());
  std::memcpy(block.data(), &header, sizeof(header));
  std::vector<PointerField> pointers = {
      {offsetof(Header, state), {builder.state_buffer(), 0}},
      {offsetof(Header, inputs),
       {builder.arguments_buffer(), static_cast<int64_t>(sizeof(Header))}},
      {offsetof(Header, outputs),
       {builder.arguments_buffer(),
        static_cast<int64_t>(sizeof(Header) + inputs.size() * sizeof(tensor::View))}}};
  static_assert(sizeof(tensor::View) == sizeof(tensor::ConstView));
  size_t at = sizeof(Header);
  for (std::span<const ReferenceOperand> operands : {inputs, outputs}) {
    for (const ReferenceOperand& operand : operands) {
      std::memcpy(block.data() + at, &operand.view, sizeof(operand.view));
      pointers.push_back({at + offsetof(tensor::View, data), operand.ref});
      at += sizeof(tensor::View);
    }
  }
  constexpr double kElementNs = 10;  // of a plain loop with double accumulation
  StepSpec spec{.run = RunReference,
                .tiles = 1,
                .work = work,
                .checks_data = true,
                .floor_ns = kElementNs * static_cast<double>(work.flops),
                .info = std::move(info)};
  builder.AddBlock(std::move(spec), block, pointers);
}

}  // namespace sluice::graph
