// Ensembles that a file gets wrong. What right ones compute: tests/conformance/cases/trees.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/batchability.h"
#include "graph/onnx/model_builder.h"
#include "graph/onnx/reader.h"

namespace sluice::graph {
namespace {

using testing::HasSubstr;

void Ints(onnx::NodeProto* node, const std::string& name, const std::vector<int64_t>& values) {
  onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
}

void Floats(onnx::NodeProto* node, const std::string& name, std::initializer_list<float> values) {
  onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::FLOATS);
  for (const float value : values) attribute->add_floats(value);
}

// What a test changes of a tree of one question and two leaves.
struct Tree {
  std::vector<int64_t> yes = {1, 0, 0};
  std::vector<int64_t> no = {2, 0, 0};
  std::vector<int64_t> features = {2, 0, 0};
  std::vector<int64_t> targets = {0, 0};
  std::vector<std::string> modes = {"BRANCH_LEQ", "LEAF", "LEAF"};
};

OnnxModelBuilder Model(const Tree& tree) {
  OnnxModelBuilder builder;
  onnx::OperatorSetIdProto* import = builder.model.add_opset_import();
  import->set_domain("ai.onnx.ml");
  import->set_version(3);
  OnnxModelBuilder::NameDim(builder.Input("x", onnx::TensorProto::FLOAT, {-1, 3}), 0, "N");
  onnx::NodeProto* node = builder.Node("TreeEnsembleRegressor", {"x"}, {"y"});
  node->set_domain("ai.onnx.ml");
  Ints(node, "nodes_treeids", {0, 0, 0});
  Ints(node, "nodes_nodeids", {0, 1, 2});
  Ints(node, "nodes_featureids", tree.features);
  Floats(node, "nodes_values", {0.5F, 0, 0});
  Ints(node, "nodes_truenodeids", tree.yes);
  Ints(node, "nodes_falsenodeids", tree.no);
  onnx::AttributeProto* modes = node->add_attribute();
  modes->set_name("nodes_modes");
  modes->set_type(onnx::AttributeProto::STRINGS);
  for (const std::string& mode : tree.modes) modes->add_strings(mode);
  Ints(node, "target_treeids", {0, 0});
  Ints(node, "target_nodeids", {1, 2});
  Ints(node, "target_ids", tree.targets);
  Floats(node, "target_weights", {1, 2});
  builder.Output("y", onnx::TensorProto::FLOAT, {-1, 1});
  return builder;
}

std::string ErrorOf(const Tree& tree) {
  const base::Result<OnnxModel> model = ReadOnnx(Model(tree).Bytes());
  return model.ok() ? "" : model.error().message;
}

TEST(TreeModels, RowsOfATreeAreBatched) {
  const base::Result<OnnxModel> model = ReadOnnx(Model({}).Bytes());
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Batchability proof = ProveBatchability(*model->graph);
  EXPECT_TRUE(proof.joinable) << proof.reason;
}

TEST(TreeModels, NodesThatLeadInACircleAreRefused) {
  Tree tree;
  tree.modes = {"BRANCH_LEQ", "BRANCH_LEQ", "LEAF"};
  tree.yes = {1, 1, 0};
  tree.no = {2, 2, 0};
  EXPECT_THAT(ErrorOf(tree), HasSubstr("its nodes lead in a circle"));
  tree.no = {2, 0, 0};
  EXPECT_THAT(ErrorOf(tree), HasSubstr("tree 0 has no root"));
}

TEST(TreeModels, WhatIsOutOfRangeIsRefused) {
  Tree far;
  far.yes = {7, 0, 0};
  EXPECT_THAT(ErrorOf(far), HasSubstr("leads to a node that is not there"));
  Tree feature;
  feature.features = {1 << 30, 0, 0};
  EXPECT_THAT(ErrorOf(feature), HasSubstr("feature 1073741824 is out of range"));
  Tree target;
  target.targets = {0, 1};
  EXPECT_THAT(ErrorOf(target), HasSubstr("target 1 is out of range"));
  Tree lists;
  lists.features = {2, 0};
  EXPECT_THAT(ErrorOf(lists), HasSubstr("must have one length"));
  Tree mode;
  mode.modes = {"BRANCH_MAYBE", "LEAF", "LEAF"};
  EXPECT_THAT(ErrorOf(mode), HasSubstr("node mode 'BRANCH_MAYBE' is not known"));
}

TEST(TreeModels, AFileCannotNameOurOwnOps) {
  OnnxModelBuilder builder = Model({});
  onnx::NodeProto* node = builder.model.mutable_graph()->mutable_node(0);
  node->set_domain("sluice");
  node->set_op_type("TreeSums");
  onnx::OperatorSetIdProto* import = builder.model.add_opset_import();
  import->set_domain("sluice");
  import->set_version(1);
  const base::Result<OnnxModel> model = ReadOnnx(builder.Bytes());
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.error().message, HasSubstr("op TreeSums of domain 'sluice'"));
}

}  // namespace
}  // namespace sluice::graph
