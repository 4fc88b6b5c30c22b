#include "graph/onnx/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "graph/onnx/model_builder.h"

namespace sluice::graph {
namespace {

using Builder = OnnxModelBuilder;
using testing::HasSubstr;

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kInt64 = onnx::TensorProto::INT64;
constexpr int kBool = onnx::TensorProto::BOOL;

// x [N, 3] -> Relu -> y
Builder Simple() {
  Builder builder;
  Builder::NameDim(builder.Input("x", kFloat, {-1, 3}), 0, "N");
  builder.Node("Relu", {"x"}, {"y"});
  builder.Output("y", kFloat, {-1, 3});
  return builder;
}

std::string ErrorOf(const Builder& builder, const OnnxReadOptions& options = {}) {
  const base::Result<OnnxModel> model = ReadOnnx(builder.Bytes(), nullptr, options);
  return model.ok() ? ""
                    : std::string(base::CodeName(model.error().code)) + " " + model.error().message;
}

std::string DumpOf(const Builder& builder) {
  const base::Result<OnnxModel> model = ReadOnnx(builder.Bytes());
  return model.ok() ? Dump(*model->graph) : model.error().message;
}

TEST(OnnxReader, ReadsTypesNamesAndSymbols) {
  EXPECT_EQ(DumpOf(Simple()), "input %x: FP32[N, 3]\n%y: FP32[N, 3] = Relu(%x)\noutput y = %y\n");
}

TEST(OnnxReader, AnUnnamedExtentIsASymbolOfItsOwn) {
  Builder builder;
  builder.Input("x", kFloat, {-1, 3});
  builder.Output("x", kFloat, {-1, 3});
  EXPECT_THAT(DumpOf(builder), HasSubstr("FP32[x.0, 3]"));
}

TEST(OnnxReader, ANodesNameTellsTheModuleThatDynamoWroteItFor) {
  const auto name_of = [](const std::string& scopes) {
    Builder builder = Simple();
    onnx::NodeProto* node = builder.model.mutable_graph()->mutable_node(0);
    node->set_name("node_relu");
    auto* entry = node->add_metadata_props();
    entry->set_key("pkg.torch.onnx.name_scopes");
    entry->set_value(scopes);
    return ReadOnnx(builder.Bytes()).value().graph->first()->name;
  };
  EXPECT_EQ(name_of("['', 'blocks.0', 'blocks.0.act', 'relu']"), "/blocks.0.act/node_relu");
  EXPECT_EQ(name_of("['', 'relu']"), "node_relu");
  EXPECT_EQ(name_of("['', 'x', 'relu']"), "/x/node_relu");
  for (const char* broken : {"", "[", "'", ", '", "', '", "relu, 'x'", "['relu']"}) {
    EXPECT_EQ(name_of(broken), "node_relu") << broken;
  }
  EXPECT_EQ(name_of("['" + std::string(5000, 'a') + "', 'relu']"), "node_relu");
}

TEST(OnnxReader, SpellsOutAFusedOperatorOfOnnxRuntime) {
  Builder builder = Simple();
  onnx::NodeProto* node = builder.model.mutable_graph()->mutable_node(0);
  node->set_op_type("QuickGelu");
  node->set_domain("com.microsoft");
  const std::string dump = DumpOf(builder);
  EXPECT_THAT(dump, HasSubstr("Sigmoid"));
  EXPECT_THAT(dump, HasSubstr("FP32[N, 3] = Mul(%x, "));
}

TEST(OnnxReader, RefusesWhatAFusedOperatorDoesNotKnow) {
  Builder builder = Simple();
  onnx::NodeProto* node = builder.model.mutable_graph()->mutable_node(0);
  node->set_op_type("QuickGelu");
  node->set_domain("com.microsoft");
  Builder::Int(node, "wings", 2);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("attribute 'wings' is not known"));
  node->set_op_type("Longformer");
  EXPECT_THAT(ErrorOf(builder), HasSubstr("domain 'com.microsoft'"));
}

TEST(OnnxReader, RefusesToComputeInAStorageType) {
  Builder builder;
  builder.Input("x", onnx::TensorProto::FLOAT8E4M3FN, {3});
  builder.Node("Relu", {"x"}, {"y"});
  builder.Output("y", onnx::TensorProto::FLOAT8E4M3FN, {3});
  EXPECT_THAT(ErrorOf(builder), HasSubstr("FLOAT8E4M3FN, which is stored and converted only"));
}

TEST(OnnxReader, RefusesWhatIsNoModel) {
  EXPECT_FALSE(ReadOnnx("not a protocol buffer").ok());
  EXPECT_FALSE(ReadOnnx("").ok());
}

TEST(OnnxReader, NamesTheUnknownOpAndItsOpset) {
  Builder builder = Simple();
  builder.Node("Frobnicate", {"x"}, {"z"});
  EXPECT_THAT(
      ErrorOf(builder),
      HasSubstr("UNIMPLEMENTED node 'Frobnicate_2' (Frobnicate): op Frobnicate of ONNX opset 17"));
}

TEST(OnnxReader, RefusesOurOwnDomainInFiles) {
  Builder builder = Simple();
  onnx::OperatorSetIdProto* import = builder.model.add_opset_import();
  import->set_domain("sluice");
  import->set_version(1);
  builder.Node("Linear", {"x"}, {"z"})->set_domain("sluice");
  EXPECT_THAT(ErrorOf(builder), HasSubstr("is not supported"));
}

TEST(OnnxReader, RefusesOpsetsItDoesNotKnow) {
  Builder builder = Simple();
  builder.model.mutable_opset_import(0)->set_version(26);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("opset 26 is not supported"));
}

TEST(OnnxReader, RefusesAttributesThatWouldBeIgnored) {
  Builder builder = Simple();
  Builder::Int(builder.model.mutable_graph()->mutable_node(0), "sparkle", 1);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("attribute 'sparkle' is not known"));
}

TEST(OnnxReader, RefusesAttributesOfAnotherType) {
  Builder builder = Simple();
  Builder::Int(builder.Node("Concat", {"x"}, {"z"}), "mode", 1);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("attribute 'mode' must be of type STRING"));
}

TEST(OnnxReader, FindsCyclesUnknownNamesAndDuplicates) {
  Builder cycle = Simple();
  cycle.Node("Add", {"x", "b"}, {"a"});
  cycle.Node("Exp", {"a"}, {"b"});
  EXPECT_THAT(ErrorOf(cycle), HasSubstr("is part of a cycle"));

  Builder unknown = Simple();
  unknown.Node("Exp", {"nowhere"}, {"z"});
  EXPECT_THAT(ErrorOf(unknown), HasSubstr("value 'nowhere' is read but never made"));

  Builder twice = Simple();
  twice.Node("Exp", {"x"}, {"y"});
  EXPECT_THAT(ErrorOf(twice), HasSubstr("value 'y' is made twice"));

  Builder inputs = Simple();
  inputs.Input("x", kFloat, {1});
  EXPECT_THAT(ErrorOf(inputs), HasSubstr("input 'x' is listed twice"));
}

TEST(OnnxReader, PutsNodesInOrder) {
  Builder builder;
  builder.Input("x", kFloat, {2});
  builder.Node("Exp", {"a"}, {"y"});
  builder.Node("Neg", {"x"}, {"a"});
  builder.Output("y", kFloat, {2});
  EXPECT_EQ(DumpOf(builder),
            "input %x: FP32[2]\n%a: FP32[2] = Neg(%x)\n%y: FP32[2] = Exp(%a)\noutput y = %y\n");
}

TEST(OnnxReader, RefusesTensorsWhoseDataDoesNotMatchTheirShape) {
  Builder few = Simple();
  few.Floats("w", {4}, {1, 2, 3});
  EXPECT_THAT(ErrorOf(few), HasSubstr("tensor 'w': has 3 elements, the shape [4] needs 4"));

  Builder raw = Simple();
  raw.Floats("w", {4}, {})->set_raw_data("abc");
  EXPECT_THAT(ErrorOf(raw), HasSubstr("has 3 bytes, the shape [4] needs 16"));

  Builder negative = Simple();
  negative.Floats("w", {-4}, {});
  EXPECT_THAT(ErrorOf(negative), HasSubstr("negative dimension"));

  Builder overflow = Simple();
  overflow.Floats("w", {int64_t{1} << 40, int64_t{1} << 40}, {});
  EXPECT_THAT(ErrorOf(overflow), HasSubstr("overflows"));

  Builder type = Simple();
  type.Floats("w", {1}, {1})->set_data_type(onnx::TensorProto::COMPLEX64);
  EXPECT_THAT(ErrorOf(type), HasSubstr("element type COMPLEX64 is not supported"));
}

TEST(OnnxReader, RefusesSparseTensorsAndSequencesByName) {
  Builder sparse = Simple();
  sparse.model.mutable_graph()->add_sparse_initializer()->mutable_values()->set_name("s");
  EXPECT_THAT(ErrorOf(sparse), HasSubstr("UNIMPLEMENTED sparse initializer 's'"));

  Builder sequence = Simple();
  onnx::ValueInfoProto* info = sequence.model.mutable_graph()->add_input();
  info->set_name("q");
  info->mutable_type()->mutable_sequence_type();
  EXPECT_THAT(ErrorOf(sequence), HasSubstr("input 'q' is not a tensor"));
}

TEST(OnnxReader, RefusesAnInterfaceThatLiesAboutItsType) {
  Builder builder = Simple();
  builder.model.mutable_graph()
      ->mutable_output(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->set_elem_type(kInt64);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("output 'y' is declared as INT64 but is FP32"));
}

TEST(OnnxReader, RefusesOperandsOfDifferentTypes) {
  Builder builder = Simple();
  builder.Ints("i", {1, 2, 3});
  builder.Node("Add", {"x", "i"}, {"z"});
  EXPECT_THAT(ErrorOf(builder), HasSubstr("must have one type, have FP32 and INT64"));
}

// ---- Limits ----

TEST(OnnxReader, EveryLimitIsReached) {
  OnnxReadOptions options;
  options.limits.nodes_max = 0;
  EXPECT_THAT(ErrorOf(Simple(), options), HasSubstr("RESOURCE_EXHAUSTED"));

  options = {};
  options.limits.name_bytes_max = 1;
  Builder named = Simple();
  EXPECT_THAT(ErrorOf(named, options), HasSubstr("a name of 6 bytes"));

  options = {};
  options.limits.inputs_per_node_max = 1;
  Builder wide = Simple();
  wide.Node("Concat", {"x", "x"}, {"z"});
  EXPECT_THAT(ErrorOf(wide, options), HasSubstr("more inputs or outputs"));

  options = {};
  options.limits.attributes_per_node_max = 0;
  Builder attributed = Simple();
  Builder::Int(attributed.Node("Concat", {"x"}, {"z"}), "axis", 0);
  EXPECT_THAT(ErrorOf(attributed, options), HasSubstr("more attributes"));

  options = {};
  options.limits.tensor_bytes_max = 8;
  Builder weights = Simple();
  weights.Floats("w", {3}, {1, 2, 3});
  EXPECT_THAT(ErrorOf(weights, options), HasSubstr("12 bytes are above the limit of 8"));

  options = {};
  options.limits.inline_bytes_max = 8;
  EXPECT_THAT(ErrorOf(weights, options), HasSubstr("stored in the model file"));

  options = {};
  options.file_bytes_max = 10;
  EXPECT_THAT(ErrorOf(Simple(), options), HasSubstr("above the limit of 10"));
}

TEST(OnnxReader, RefusesSubgraphsNestedTooDeep) {
  Builder builder = Simple();
  builder.Input("c", kBool, {});
  onnx::NodeProto* node = builder.Node("If", {"c"}, {"z"});
  for (int depth = 0; depth < 12; ++depth) {
    onnx::GraphProto* then_branch = Builder::Body(node, "then_branch");
    onnx::GraphProto* else_branch = Builder::Body(node, "else_branch");
    Builder::Describe(then_branch->add_output(), "t" + std::to_string(depth), kFloat, {});
    Builder::Describe(else_branch->add_output(), "x", kFloat, {});
    node = Builder::NodeIn(then_branch->mutable_node(), "If", {"c"}, {"t" + std::to_string(depth)});
  }
  EXPECT_THAT(ErrorOf(builder), HasSubstr("subgraphs are nested deeper than 8"));
}

// ---- Functions ----

// double(v) = v + v, in the domain "local".
Builder WithFunction() {
  Builder builder;
  builder.Input("x", kFloat, {2});
  onnx::OperatorSetIdProto* import = builder.model.add_opset_import();
  import->set_domain("local");
  import->set_version(1);
  onnx::FunctionProto* function = builder.model.add_functions();
  function->set_name("Double");
  function->set_domain("local");
  function->add_input("v");
  function->add_output("w");
  function->add_opset_import()->set_version(17);
  Builder::NodeIn(function->mutable_node(), "Add", {"v", "v"}, {"w"});
  builder.Node("Double", {"x"}, {"a"})->set_domain("local");
  builder.Node("Double", {"a"}, {"y"})->set_domain("local");
  builder.Output("y", kFloat, {2});
  return builder;
}

TEST(OnnxReader, InlinesFunctions) {
  EXPECT_EQ(DumpOf(WithFunction()),
            "input %x: FP32[2]\n"
            "%w: FP32[2] = Add(%x, %x)\n"
            "%w.0: FP32[2] = Add(%w, %w)\n"
            "output y = %w.0\n");
}

TEST(OnnxReader, RefusesFunctionsThatCallThemselves) {
  Builder builder = WithFunction();
  onnx::FunctionProto* function = builder.model.mutable_functions(0);
  onnx::OperatorSetIdProto* import = function->add_opset_import();
  import->set_domain("local");
  import->set_version(1);
  function->mutable_node(0)->set_op_type("Double");
  function->mutable_node(0)->set_domain("local");
  function->mutable_node(0)->clear_input();
  function->mutable_node(0)->add_input("v");
  EXPECT_THAT(ErrorOf(builder), HasSubstr("functions are nested deeper"));
}

TEST(OnnxReader, GivesAFunctionsAttributesTheCallsValueOrTheDefault) {
  Builder builder = WithFunction();
  onnx::FunctionProto* function = builder.model.mutable_functions(0);
  function->mutable_node(0)->set_op_type("Concat");
  onnx::AttributeProto* reference = function->mutable_node(0)->add_attribute();
  reference->set_name("axis");
  reference->set_type(onnx::AttributeProto::INT);
  reference->set_ref_attr_name("along");
  onnx::AttributeProto* fallback = function->add_attribute_proto();
  fallback->set_name("along");
  fallback->set_type(onnx::AttributeProto::INT);
  fallback->set_i(0);
  Builder::Int(builder.model.mutable_graph()->mutable_node(1), "along", -1);
  builder.model.mutable_graph()->mutable_output(0)->mutable_type()->clear_tensor_type();
  builder.model.mutable_graph()->mutable_output(0)->clear_type();
  const std::string dump = DumpOf(builder);
  EXPECT_THAT(dump, HasSubstr("Concat(%x, %x) {axis=0}"));
  EXPECT_THAT(dump, HasSubstr("{axis=-1}"));
}

// ---- Subgraphs ----

TEST(OnnxReader, ClosesSubgraphsOverWhatTheyRead) {
  Builder builder;
  builder.Input("c", kBool, {});
  builder.Input("x", kFloat, {2});
  builder.Input("z", kFloat, {2});
  onnx::NodeProto* node = builder.Node("If", {"c"}, {"y"});
  onnx::GraphProto* then_branch = Builder::Body(node, "then_branch");
  Builder::NodeIn(then_branch->mutable_node(), "Exp", {"x"}, {"t"});
  Builder::Describe(then_branch->add_output(), "t", kFloat, {2});
  onnx::GraphProto* else_branch = Builder::Body(node, "else_branch");
  Builder::NodeIn(else_branch->mutable_node(), "Add", {"z", "x"}, {"e"});
  Builder::Describe(else_branch->add_output(), "e", kFloat, {2});
  builder.Output("y", kFloat, {2});
  const std::string dump = DumpOf(builder);
  EXPECT_THAT(dump, HasSubstr("%y: FP32[2] = If(%c, %x, %z)"));
  EXPECT_THAT(dump, HasSubstr("output t"));
}

// ---- External data ----

class ExternalDataTest : public testing::Test {
 protected:
  ExternalDataTest() {
    char path[] = "/tmp/sluice_onnx_XXXXXX";
    folder = mkdtemp(path);
    inside = folder + "/model";
    mkdir(inside.c_str(), 0700);
  }
  ~ExternalDataTest() override {
    for (const std::string& file : files) unlink(file.c_str());
    rmdir(inside.c_str());
    rmdir(folder.c_str());
  }

  void Write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    files.push_back(path);
  }

  // A model whose initialiser "w" [2] f32 lies in `location`.
  std::string ReadWith(const std::string& location, const std::string& offset,
                       const std::string& length) {
    Builder builder = Simple();
    onnx::TensorProto* tensor = builder.Floats("w", {2}, {});
    tensor->set_data_location(onnx::TensorProto::EXTERNAL);
    const auto add = [tensor](const std::string& key, const std::string& value) {
      onnx::StringStringEntryProto* entry = tensor->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    add("location", location);
    add("offset", offset);
    if (!length.empty()) add("length", length);
    builder.Node("Identity", {"w"}, {"z"});
    builder.Output("z", kFloat, {2});
    Write(inside + "/model.onnx", builder.Bytes());
    const base::Result<OnnxModel> model = ReadOnnxFile(inside + "/model.onnx");
    if (!model.ok()) return model.error().message;
    const Value* w = model->graph->FindValue("w");
    return std::to_string(w->constant->view().as<float>()[0]) + " " +
           std::to_string(w->constant->view().as<float>()[1]);
  }

  std::string folder;
  std::string inside;
  std::vector<std::string> files;
};

TEST_F(ExternalDataTest, ReadsAlignedAndUnalignedTensors) {
  const float values[] = {1.5F, 2.5F};
  const std::string bytes(reinterpret_cast<const char*>(values), sizeof values);
  Write(inside + "/w.bin", bytes + "xyz" + bytes);
  EXPECT_EQ(ReadWith("w.bin", "0", "8"), "1.500000 2.500000");
  EXPECT_EQ(ReadWith("w.bin", "11", "8"), "1.500000 2.500000");
}

TEST_F(ExternalDataTest, StaysInTheModelsFolder) {
  Write(folder + "/secret.bin", std::string(8, 'x'));
  EXPECT_THAT(ReadWith("../secret.bin", "0", "8"), HasSubstr("secret.bin"));
  EXPECT_THAT(ReadWith(folder + "/secret.bin", "0", "8"), HasSubstr("secret.bin"));
  ASSERT_EQ(symlink((folder + "/secret.bin").c_str(), (inside + "/link.bin").c_str()), 0);
  files.push_back(inside + "/link.bin");
  EXPECT_THAT(ReadWith("link.bin", "0", "8"), HasSubstr("link.bin"));
}

TEST_F(ExternalDataTest, ChecksOffsetsAndLengths) {
  Write(inside + "/w.bin", std::string(10, 'x'));
  EXPECT_THAT(ReadWith("w.bin", "4", "8"), HasSubstr("has 10 bytes, expected 8 at 4"));
  EXPECT_THAT(ReadWith("w.bin", "-1", "8"), HasSubstr("expected 8 at -1"));
  EXPECT_THAT(ReadWith("w.bin", "0", "4"),
              HasSubstr("external data of 4 bytes, the shape needs 8"));
  EXPECT_THAT(ReadWith("w.bin", "99999999999999999999", "8"), HasSubstr("is not a number"));
  EXPECT_THAT(ReadWith("none.bin", "0", "8"), HasSubstr("none.bin"));
}

TEST_F(ExternalDataTest, IsRefusedForModelsInMemory) {
  Builder builder = Simple();
  onnx::TensorProto* tensor = builder.Floats("w", {2}, {});
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  EXPECT_THAT(ErrorOf(builder), HasSubstr("external data is not allowed here"));
}

}  // namespace
}  // namespace sluice::graph
