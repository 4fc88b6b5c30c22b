// Every op of the registry on random types, shapes and attributes: whatever a model asks for ends
// in a result or an error, never in a CHECK; a result has the type and shape that inference told;
// and the compiled program gives what the interpreter gives.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "graph/executor.h"
#include "graph/interpreter.h"
#include "graph/model.h"
#include "graph/op.h"
#include "graph/ops/rules.h"
#include "graph/test_values.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr InterpreterLimits kLimits{
    .bytes_max = 1 << 20, .work_max = 1 << 24, .iterations_max = 16};

// Ops whose inputs chance alone would hardly ever fit: a type and a shape for each input. Types: f
// f32, q i8, i i64. Shapes: s the node's, c one per channel, 1 one element, r one per axis, h half
// of rows of rank 4, x [1, 1], u a slice of s.
struct Recipe {
  std::string_view op;
  std::string_view inputs;
  int64_t gates =
      1;  // of a recurrent cell: w and v are its weights for inputs and for a state of 2
};
constexpr Recipe kRecipes[] = {
    {"BatchNormalization", "fsfcfcfcfc"},
    {"GroupNormalization", "fsfcfc"},
    {"InstanceNormalization", "fsfcfc"},
    {"QLinearMatMul", "qsf1q1qsf1q1f1q1"},
    {"Resize", "fsfrfr"},
    {"Upsample", "fsfr"},
    {"RotaryEmbedding", "fsfhfh"},
    {"ScatterND", "fsixfu"},
    {"Attention", "fsfsfsfsfsfs"},
    {"ReverseSequence", "fsic"},
    {"RNN", "fsfwfv", 1},
    {"GRU", "fsfwfv", 3},
    {"LSTM", "fsfwfv", 4},
    {"Conv", "fsfsfc"},
    {"ConvTranspose", "fsfsfc"},
    {"MatMulInteger", "qsqsq1q1"},
};

// Empty when the tensors agree: integers and strings exactly, floats within the rounding of their
// type times a few operations.
std::string Difference(const Tensor& expected, const Tensor& actual) {
  if (expected.dtype != actual.dtype) return "types differ";
  if (expected.shape != actual.shape) {
    return "expected shape " + expected.shape.ToString() + ", got " + actual.shape.ToString();
  }
  const tensor::ConstView e = expected.view();
  const tensor::ConstView a = actual.view();
  if (e.dtype == DType::kBytes) {
    const auto x = e.span<std::string_view>();
    const auto y = a.span<std::string_view>();
    return std::equal(x.begin(), x.end(), y.begin()) ? "" : "strings differ";
  }
  if (!tensor::IsFloat(e.dtype)) {
    const bool same =
        e.bytes() == 0 || std::memcmp(e.data, a.data, static_cast<size_t>(e.bytes())) == 0;
    return same ? "" : "integers differ";
  }
  const double tolerance = e.dtype == DType::kBF16 ? 2e-2 : e.dtype == DType::kF16 ? 2e-3 : 1e-4;
  for (int64_t i = 0; i < e.shape.elements(); ++i) {
    const double x = ValueAt(e, i);
    const double y = ValueAt(a, i);
    if ((std::isnan(x) && std::isnan(y)) || x == y ||
        std::abs(x - y) <= tolerance * (1 + std::abs(x)))
      continue;
    return "element " + std::to_string(i) + ": expected " + std::to_string(x) + ", got " +
           std::to_string(y);
  }
  return "";
}

// What a server would answer; nullopt where a compiled program is not made.
std::optional<std::vector<Tensor>> RunCompiled(const Graph& graph, std::span<const Tensor> inputs) {
  OnnxModel source;
  source.graph = Clone(graph);
  const auto model = Model::Compile(std::move(source), {});
  EXPECT_TRUE(model.ok()) << model.error().message;
  if (!model.ok()) return std::nullopt;
  std::vector<tensor::Shape> shapes;
  std::vector<const void*> data;
  for (const Tensor& input : inputs) {
    shapes.push_back(input.shape);
    data.push_back(input.buffer.data());
  }
  const auto plan = (*model)->PlanFor(shapes);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  if (!plan.ok() || (*plan)->interpreted) return std::nullopt;
  std::vector<Tensor> outputs;
  std::vector<void*> places;
  for (size_t i = 0; i < (*model)->outputs().size(); ++i) {
    outputs.push_back(
        *Tensor::Allocate((*model)->outputs()[i].dtype, (*plan)->output_shapes[i], INT64_MAX));
    places.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Buffer memory = tensor::Buffer::Allocate((*plan)->memory_bytes);
  ExecuteArgs args;
  args.inputs = data;
  args.outputs = places;
  args.memory = memory.mutable_data();
  args.memory_bytes = (*plan)->memory_bytes;
  const base::Status status = Execute(**plan, args);
  EXPECT_TRUE(status.ok()) << status.error().message;
  if (!status.ok()) return std::nullopt;
  return outputs;
}

enum class Check { kEndsPolitely, kCompiledAgrees };

class RandomNode {
 public:
  RandomNode(uint64_t seed, Check check) : random_(seed), check_(check) {}

  int64_t Pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  bool Chance(int percent) { return Pick(1, 100) <= percent; }

  tensor::Shape RandomShape() {
    tensor::Shape shape;
    if (Chance(15) && base_rank_ > 1)
      return tensor::Shape({base_extents_[1]});  // one for each channel
    const int64_t rank = Chance(90) ? base_rank_ : Pick(0, 5);
    for (int64_t i = 0; i < rank; ++i) {
      shape.Append(Chance(85) ? base_extents_[static_cast<size_t>(i)]
                              : Pick(Chance(10) ? 0 : 1, 4));
    }
    return shape;
  }

  tensor::Shape RecipeShape(char letter, int64_t gates) {
    const std::span<const int64_t> base(base_extents_, static_cast<size_t>(base_rank_));
    switch (letter) {
      case 'c':
        return tensor::Shape({base_extents_[1]});
      case '1':
        return tensor::Shape({1});
      case 'r':
        return tensor::Shape({base_rank_});
      case 'h':
        return tensor::Shape({base_extents_[0], base_extents_[2], base_extents_[3] / 2});
      case 'w':
        return tensor::Shape({1, 2 * gates, base_extents_[2]});
      case 'v':
        return tensor::Shape({1, 2 * gates, 2});
      case 'x':
        return tensor::Shape({1, 1});
      case 'u': {
        tensor::Shape shape(base);
        if (shape.rank() > 0) shape.set_dim(0, 1);
        return shape;
      }
      default:
        return tensor::Shape(base);
    }
  }

  Tensor RandomTensor(DType dtype, const tensor::Shape& shape) {
    const int64_t count = shape.elements();
    if (dtype == DType::kBytes) {
      std::vector<std::string> strings;
      for (int64_t i = 0; i < count; ++i)
        strings.emplace_back(static_cast<size_t>(Pick(0, 3)), 'a');
      return Tensor::FromStrings(shape, strings);
    }
    Tensor tensor = *Tensor::Allocate(dtype, shape, INT64_MAX);
    auto* bytes = reinterpret_cast<unsigned char*>(tensor.buffer.mutable_data());
    const int64_t size = tensor::DTypeSize(dtype);
    for (int64_t i = 0; i < count; ++i) {
      // Mostly small numbers, which indices and extents are; now and then any bits at all.
      const int64_t small = Pick(-3, 5);
      if (dtype == DType::kF32) {
        const auto value = static_cast<float>(small);
        std::memcpy(bytes + i * size, &value, sizeof value);
      } else {
        std::memcpy(bytes + i * size, &small, static_cast<size_t>(size));
      }
      if (check_ == Check::kEndsPolitely && Chance(3)) {
        for (int64_t k = 0; k < size; ++k)
          bytes[i * size + k] = static_cast<unsigned char>(Pick(0, 255));
      }
      if (dtype == DType::kBool) bytes[i] &= 1;
    }
    return tensor;
  }

  DType RandomType() {
    return static_cast<DType>(
        Pick(0, Chance(90) ? tensor::kWireTypeCount - 1 : tensor::kDTypeCount - 1));
  }

  void AddAttributes(Node& node) {
    static constexpr std::string_view kInts[] = {"axis",
                                                 "keepdims",
                                                 "to",
                                                 "allowzero",
                                                 "batch_dims",
                                                 "blocksize",
                                                 "ceil_mode",
                                                 "group",
                                                 "k",
                                                 "largest",
                                                 "num_groups",
                                                 "num_outputs",
                                                 "q_num_heads",
                                                 "sorted",
                                                 "start",
                                                 "end",
                                                 "kv_num_heads",
                                                 "is_causal",
                                                 "num_heads",
                                                 "upper",
                                                 "transA",
                                                 "transB",
                                                 "fmod",
                                                 "noop_with_empty_axes",
                                                 "time_axis",
                                                 "batch_axis",
                                                 "p",
                                                 "block_size",
                                                 "size",
                                                 "count_include_pad",
                                                 "storage_order",
                                                 "training_mode",
                                                 "dtype",
                                                 "rotary_embedding_dim",
                                                 "qk_matmul_output_mode",
                                                 "reverse"};
    static constexpr std::string_view kLists[] = {
        "axes",  "kernel_shape", "strides", "pads",         "dilations",     "perm",
        "split", "starts",       "ends",    "output_shape", "output_padding"};
    static constexpr std::string_view kWords[] = {"constant",
                                                  "reflect",
                                                  "edge",
                                                  "wrap",
                                                  "SAME_UPPER",
                                                  "SAME_LOWER",
                                                  "VALID",
                                                  "linear",
                                                  "cubic",
                                                  "nearest",
                                                  "add",
                                                  "LEFT",
                                                  "RIGHT",
                                                  "DCR",
                                                  "tanh",
                                                  "none",
                                                  "max",
                                                  "align_corners",
                                                  "tf_crop_and_resize",
                                                  "not_larger"};
    static constexpr std::string_view kStrings[] = {"mode",
                                                    "auto_pad",
                                                    "reduction",
                                                    "direction",
                                                    "approximate",
                                                    "coordinate_transformation_mode",
                                                    "keep_aspect_ratio_policy"};
    static constexpr std::string_view kEquations[] = {
        "ij,jk->ik", "...ij,...jk->...ik", "ii->i", "ij->ji", "i,j", "bij,bjk"};
    for (const std::string_view name : kInts) {
      if (Chance(20)) node.Set(name, Chance(95) ? Pick(-2, 5) : Pick(INT64_MIN, INT64_MAX));
    }
    for (const std::string_view name : kLists) {
      if (!Chance(25)) continue;
      std::vector<int64_t> list;
      const int64_t count =
          Chance(80) ? (name == "pads" ? 2 : 1) * std::max<int64_t>(1, base_rank_ - 2) : Pick(0, 5);
      for (int64_t i = 0; i < count; ++i)
        list.push_back(Chance(95) ? Pick(-1, 3) : Pick(INT64_MIN, INT64_MAX));
      if (name == "perm" && Chance(80)) {
        list.clear();
        for (int64_t i = 0; i < base_rank_; ++i) list.push_back(base_rank_ - 1 - i);
      }
      node.Set(name, std::move(list));
    }
    for (const std::string_view name : kStrings) {
      if (Chance(30)) node.Set(name, std::string(kWords[Pick(0, std::ssize(kWords) - 1)]));
    }
    node.Set("equation", std::string(kEquations[Pick(0, std::ssize(kEquations) - 1)]));
    if (node.Is("ConstantOfShape") && Chance(50))
      node.Set("value", RandomTensor(RandomType(), tensor::Shape({1})));
    if (Chance(20)) node.Set("scale", static_cast<float>(Pick(0, 3)));
    if (Chance(20)) node.Set("softcap", static_cast<float>(Pick(0, 3)));
  }

  // The newest opset for which the row stands.
  static int OpsetOf(const OpDef& op) {
    int opset = kOpsetMax;
    while (opset > op.since && FindOp(op.domain, op.name, opset) != &op) --opset;
    return opset;
  }

  // Builds a graph of one node and, when inference takes it, runs it.
  void Try(const OpDef& op) {
    base_rank_ = Chance(50) ? Pick(3, 4) : Pick(0, 5);
    for (int64_t& extent : base_extents_)
      extent = Chance(40) ? base_extents_[0] : int64_t{1} << Pick(0, 2);
    Graph graph(std::make_shared<SymbolTable>());
    const int64_t inputs_max = op.inputs_max < 0 ? 4 : op.inputs_max;
    const int64_t input_count = Pick(std::min<int64_t>(op.inputs_min, inputs_max), inputs_max);
    const DType dtype = RandomType();
    std::string_view recipe;
    int64_t gates = 1;
    for (const Recipe& row : kRecipes) {
      if (row.op != op.name) continue;
      recipe = row.inputs;
      gates = row.gates;
    }
    const bool by_recipe = Chance(70);
    std::vector<Value*> values;
    std::vector<Tensor> fed;
    for (int64_t i = 0; i < input_count; ++i) {
      if (i >= op.inputs_min && Chance(30)) {
        values.push_back(nullptr);
        continue;
      }
      const int64_t kind = Pick(1, 100);
      DType own = kind <= 55 ? dtype : kind <= 85 ? DType::kI64 : RandomType();
      tensor::Shape shape = own == DType::kI64 && dtype != DType::kI64 && Chance(60)
                                ? tensor::Shape({Pick(0, 4)})
                                : RandomShape();
      if (by_recipe && static_cast<size_t>(2 * i + 1) < recipe.size()) {
        const char type = recipe[static_cast<size_t>(2 * i)];
        own = type == 'f' ? DType::kF32 : type == 'q' ? DType::kI8 : DType::kI64;
        shape = RecipeShape(recipe[static_cast<size_t>(2 * i + 1)], gates);
      }
      Tensor tensor = RandomTensor(own, shape);
      if (Chance(50)) {
        values.push_back(graph.AddConstant("c", std::move(tensor)));
        continue;
      }
      std::optional<SymShape> declared = SymShape(shape.dims().begin(), shape.dims().end());
      for (size_t d = 0; d < declared->size(); ++d) {
        if (Chance(40))
          (*declared)[d] = graph.symbols().Symbol("d" + std::to_string(shape[static_cast<int>(d)]));
      }
      if (Chance(20)) declared.reset();
      values.push_back(graph.AddInput("x", own, std::move(declared)));
      fed.push_back(std::move(tensor));
    }
    const int64_t outputs_max = op.outputs_max < 0 ? 3 : op.outputs_max;
    Node* node = graph.AddNode(
        &op, OpsetOf(op), std::move(values),
        static_cast<size_t>(Pick(std::min<int64_t>(op.outputs_min, outputs_max), outputs_max)));
    AddAttributes(*node);
    for (Value* output : node->outputs) graph.AddOutput(output->name, output);
    const base::Status inferred = InferGraph(graph);
    if (!inferred.ok()) {
      EXPECT_NE(inferred.error().code, base::Code::kInternal) << inferred.error().message;
      return;
    }
    const base::Status verified = Verify(graph);
    ASSERT_TRUE(verified.ok()) << verified.error().message << "\n" << Dump(graph);
    const base::Result<std::vector<Tensor>> results = Interpreter(graph, kLimits).Run(fed);
    if (results.ok()) {
      ++run_count_;
      if (check_ == Check::kCompiledAgrees) ExpectCompiledAgrees(graph, fed, *results);
      return;
    }
    EXPECT_NE(results.error().code, base::Code::kInternal) << results.error().message << "\n"
                                                           << Dump(graph);
  }

  void ExpectCompiledAgrees(const Graph& graph, std::span<const Tensor> inputs,
                            const std::vector<Tensor>& expected) {
    const std::optional<std::vector<Tensor>> actual = RunCompiled(graph, inputs);
    if (!actual.has_value()) return;
    ++compiled_count_;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(Difference(expected[i], (*actual)[i]), "") << "output " << i << "\n" << Dump(graph);
    }
  }

  int64_t compiled_count() const { return compiled_count_; }
  int64_t run_count() const { return run_count_; }

 private:
  std::mt19937_64 random_;
  Check check_;
  int64_t base_rank_ = 0;
  int64_t base_extents_[5] = {1, 1, 1, 1, 1};
  int64_t run_count_ = 0;
  int64_t compiled_count_ = 0;
};

// The ops that run at all in an interpreter without a subgraph.
std::vector<const OpDef*> RunnableOps() {
  std::vector<const OpDef*> ops;
  for (const OpDef* op : AllOps()) {
    // A Constant becomes a constant of the graph when it is read.
    const bool runs =
        (op->traits & kControlFlow) == 0 && op->run != nullptr && op->domain != kOurDomain;
    if (runs && op->name != "Constant") ops.push_back(op);
  }
  return ops;
}

TEST(OpRandom, EveryOpEndsInAResultOrAnError) {
  for (const OpDef* op : RunnableOps()) {
    SCOPED_TRACE(std::string(op->name));
    RandomNode random(std::hash<std::string_view>()(op->name), Check::kEndsPolitely);
    for (int i = 0; i < 1000; ++i) random.Try(*op);
    // Shows that the generator reaches the op's kernel.
    EXPECT_GT(random.run_count(), 0) << op->name;
  }
}

TEST(OpRandom, TheCompiledProgramAgreesWithTheInterpreter) {
  int64_t compiled = 0;
  for (const OpDef* op : RunnableOps()) {
    SCOPED_TRACE(std::string(op->name));
    RandomNode random(std::hash<std::string_view>()(op->name) + 1, Check::kCompiledAgrees);
    for (int i = 0; i < 300; ++i) random.Try(*op);
    compiled += random.compiled_count();
  }
  EXPECT_GT(compiled, 1000);
}

}  // namespace
}  // namespace sluice::graph
