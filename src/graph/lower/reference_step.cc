#include "graph/lower/reference_step.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "graph/lower/reference_tiles.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

// Followed in the argument block by the views.
struct Header {
  const Node* node = nullptr;
  RunState* state = nullptr;
  const tensor::ConstView* inputs = nullptr;
  const tensor::View* outputs = nullptr;
  std::byte* scratch = nullptr;  // `scratch_bytes` for each tile
  int64_t scratch_bytes = 0;
  int64_t input_count = 0;
  int64_t output_count = 0;
  int64_t tiles = 1;
  ReferenceCut cut;
};
static_assert(sizeof(Header) % alignof(tensor::View) == 0);

// Hands out the plan's memory and checks that the op agrees with the plan.
class PlannedContext : public RunContext {
 public:
  PlannedContext(const Header& header, std::span<const tensor::ConstView> inputs,
                 const tensor::View* outputs, int64_t tile)
      : RunContext(*header.node),
        outputs_(outputs),
        scratch_(header.scratch + tile * header.scratch_bytes),
        scratch_left_(header.scratch_bytes) {
    inputs_ = inputs;
  }

  base::Result<tensor::View> Output(size_t i, tensor::DType dtype,
                                    const tensor::Shape& shape) override {
    const tensor::View& view = outputs_[i];
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
    const int64_t taken = ScratchBytes({bytes});
    if (bytes < 0 || taken > scratch_left_) {
      return base::Internal("node '" + node().name + "' needs more scratch than was planned");
    }
    std::byte* const memory = scratch_;
    scratch_ += taken;
    scratch_left_ -= taken;
    return memory;
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
  const tensor::View* const outputs_;
  std::byte* scratch_;
  int64_t scratch_left_;
};

void RunTile(const Header& header, std::span<const tensor::ConstView> inputs,
             const tensor::View* outputs, int64_t tile) {
  PlannedContext context(header, inputs, outputs, tile);
  base::Status status = header.node->op->run(context);
  if (!status.ok() && header.state->Claim()) {
    header.state->message = std::make_unique<std::string>(status.error().message).release();
  }
}

// Positions [begin, end) of the cut axis; a negative axis leaves the view as it is.
template <class View>
void Slice(View& view, int8_t axis, int64_t begin, int64_t end) {
  if (axis < 0) return;
  const int64_t row = view.shape.elements(axis + 1, view.shape.rank());
  using Byte = std::conditional_t<std::is_same_v<View, tensor::View>, std::byte, const std::byte>;
  view.data = static_cast<Byte*>(view.data) + begin * row * tensor::DTypeSize(view.dtype);
  view.shape.set_dim(axis, end - begin);
}

void RunReference(const void* block, kernels::Tiles tiles) {
  const Header& header = *static_cast<const Header*>(block);
  const std::span inputs(header.inputs, static_cast<size_t>(header.input_count));
  if (header.tiles == 1) return RunTile(header, inputs, header.outputs, 0);
  const ReferenceCut& cut = header.cut;
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t begin = TileBegin(cut, tile, header.tiles);
    const int64_t end = TileBegin(cut, tile + 1, header.tiles);
    tensor::ConstView sliced[ReferenceCut::kInputsMax];
    tensor::View made[ReferenceCut::kOutputsMax];
    for (size_t i = 0; i < inputs.size(); ++i) {
      sliced[i] = inputs[i];
      Slice(sliced[i], cut.inputs[i], begin, end);
    }
    for (size_t i = 0; i < static_cast<size_t>(header.output_count); ++i) {
      made[i] = header.outputs[i];
      Slice(made[i], cut.outputs[i], begin, end);
    }
    RunTile(header, {sliced, inputs.size()}, made, tile);
  }
}

// The shapes that the largest tile sees; `views` keep them.
struct TileShapes {
  std::vector<tensor::ConstView> inputs;
  std::vector<tensor::View> outputs;
  const Node* node = nullptr;

  RunShapes view() const { return {node, inputs, outputs}; }
};
TileShapes ShapesOf(const Node& node, std::span<const ReferenceOperand> inputs,
                    std::span<const ReferenceOperand> outputs) {
  TileShapes shapes;
  shapes.node = &node;
  for (const ReferenceOperand& operand : inputs) shapes.inputs.push_back(operand.view);
  for (const ReferenceOperand& operand : outputs) shapes.outputs.push_back(operand.view);
  return shapes;
}
void Shrink(TileShapes& shapes, const ReferenceCut& cut, int64_t extent) {
  for (size_t i = 0; i < shapes.inputs.size(); ++i) {
    if (cut.inputs[i] >= 0) shapes.inputs[i].shape.set_dim(cut.inputs[i], extent);
  }
  for (size_t i = 0; i < shapes.outputs.size(); ++i) {
    if (cut.outputs[i] >= 0) shapes.outputs[i].shape.set_dim(cut.outputs[i], extent);
  }
}

}  // namespace

void AddReferenceStep(ProgramBuilder& builder, const Node& node,
                      std::span<const ReferenceOperand> inputs,
                      std::span<const ReferenceOperand> outputs, kernels::Work work,
                      StepInfo info) {
  TileShapes shapes = ShapesOf(node, inputs, outputs);
  Header header;
  header.node = &node;
  header.input_count = static_cast<int64_t>(inputs.size());
  header.output_count = static_cast<int64_t>(outputs.size());
  const double total_ns = ReferenceNs(shapes.view());
  header.cut = CutReference(shapes.view());
  if (header.cut.extent > 1) {
    const double wanted = std::min(total_ns / builder.rates().reference_tile_ns,
                                   static_cast<double>(header.cut.extent));
    header.tiles = std::max<int64_t>(1, static_cast<int64_t>(wanted));
    Shrink(shapes, header.cut, (header.cut.extent + header.tiles - 1) / header.tiles);
  }
  Ref scratch;
  if (node.op->scratch != nullptr) {
    header.scratch_bytes = node.op->scratch(shapes.view());
    scratch = {builder.NewBuffer(header.scratch_bytes * header.tiles), 0};
  }
  const size_t views = inputs.size() + outputs.size();
  std::vector<std::byte> block(sizeof(Header) + views * sizeof(tensor::View));
  std::memcpy(block.data(), &header, sizeof(header));
  std::vector<PointerField> pointers = {
      {offsetof(Header, state), {builder.state_buffer(), 0}},
      {offsetof(Header, scratch), scratch},
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
  StepSpec spec{.run = RunReference,
                .tiles = header.tiles,
                .work = work,
                .checks_data = true,
                .floor_ns = total_ns,
                .info = std::move(info)};
  builder.AddBlock(std::move(spec), block, pointers);
}

}  // namespace sluice::graph
