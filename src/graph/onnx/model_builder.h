// Small ONNX models for tests, made with the protocol buffer classes so that they can be wrong in
// any way.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

class OnnxModelBuilder {
 public:
  explicit OnnxModelBuilder(int opset = 17) {
    model.set_ir_version(8);
    model.add_opset_import()->set_version(opset);
    model.mutable_graph()->set_name("test");
  }

  // A dim of -1 has no name; names are added by the caller.
  onnx::ValueInfoProto* Input(const std::string& name, int type,
                              std::initializer_list<int64_t> dims) {
    return Describe(model.mutable_graph()->add_input(), name, type, dims);
  }
  onnx::ValueInfoProto* Output(const std::string& name, int type,
                               std::initializer_list<int64_t> dims) {
    return Describe(model.mutable_graph()->add_output(), name, type, dims);
  }
  onnx::NodeProto* Node(const std::string& op, std::initializer_list<std::string> inputs,
                        std::initializer_list<std::string> outputs) {
    return NodeIn(model.mutable_graph()->mutable_node(), op, inputs, outputs);
  }
  template <class Nodes>
  static onnx::NodeProto* NodeIn(Nodes* nodes, const std::string& op,
                                 std::initializer_list<std::string> inputs,
                                 std::initializer_list<std::string> outputs) {
    onnx::NodeProto* node = nodes->Add();
    node->set_op_type(op);
    node->set_name(op + "_" + std::to_string(nodes->size()));
    for (const std::string& input : inputs) node->add_input(input);
    for (const std::string& output : outputs) node->add_output(output);
    return node;
  }
  onnx::TensorProto* Floats(const std::string& name, std::initializer_list<int64_t> dims,
                            std::initializer_list<float> values) {
    onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : dims) tensor->add_dims(dim);
    for (const float value : values) tensor->add_float_data(value);
    return tensor;
  }
  onnx::TensorProto* Ints(const std::string& name, std::initializer_list<int64_t> values) {
    onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(values.size()));
    for (const int64_t value : values) tensor->add_int64_data(value);
    return tensor;
  }
  static void Int(onnx::NodeProto* node, const std::string& name, int64_t value) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static onnx::GraphProto* Body(onnx::NodeProto* node, const std::string& name) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::GRAPH);
    return attribute->mutable_g();
  }
  static onnx::ValueInfoProto* Describe(onnx::ValueInfoProto* info, const std::string& name,
                                        int type, std::initializer_list<int64_t> dims) {
    info->set_name(name);
    onnx::TypeProto_Tensor* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    for (const int64_t dim : dims) {
      onnx::TensorShapeProto_Dimension* to = tensor->mutable_shape()->add_dim();
      if (dim >= 0) to->set_dim_value(dim);
    }
    tensor->mutable_shape();
    return info;
  }
  static void NameDim(onnx::ValueInfoProto* info, int axis, const std::string& name) {
    info->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(axis)->set_dim_param(
        name);
  }
  std::string Bytes() const { return model.SerializeAsString(); }

  onnx::ModelProto model;
};

}  // namespace sluice::graph
