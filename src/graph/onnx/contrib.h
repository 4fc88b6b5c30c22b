// Operators beside ONNX's own, each spelled out in ONNX's when it is read: the fused ones that ONNX
// Runtime's optimisers write (domain com.microsoft, and one in ONNX's own), which passes fuse again
// our way; the classic models of ai.onnx.ml; and those of ONNX itself that are sums of others.
#pragma once

#include <climits>
#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

inline constexpr std::string_view kContribDomain = "com.microsoft";
inline constexpr std::string_view kClassicDomain = "ai.onnx.ml";
inline constexpr int kContribBodyOpset = 23;  // of the operators that bodies are spelled in

// The body of one fused operator while it is spelled out: reads the node's attributes and inputs,
// collects the nodes that take its place. Values are names; "" is an absent one. Owned by
// ExpandContrib.
class ContribBody {
 public:
  // A node's attribute.
  struct Attribute {
    std::string_view name;
    std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
  };

  // `node` has its attributes resolved; `inputs` are the values it reads, null where absent.
  ContribBody(const onnx::NodeProto& node, std::span<Value* const> inputs);

  // ---- The fused node ----

  bool has(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  bool wants(int i) const { return i < node_.output_size() && !node_.output(i).empty(); }
  std::string In(size_t i) const;
  // What is known of an input. Types may be unknown inside subgraphs: those are taken for f32.
  std::optional<int> Rank(size_t i) const;
  std::optional<int64_t> Extent(size_t i, int axis) const;  // from the end when negative
  tensor::DType Type(size_t i) const;
  const tensor::Tensor* Constant(size_t i) const;

  int64_t Int(std::string_view name, int64_t fallback);
  float Float(std::string_view name, float fallback);
  std::string String(std::string_view name, std::string_view fallback);
  std::vector<int64_t> Ints(std::string_view name);
  std::vector<float> Floats(std::string_view name);
  std::vector<std::string> Strings(std::string_view name);
  base::Result<std::optional<tensor::Tensor>> Tensor(std::string_view name);
  bool HasAttribute(std::string_view name) const;
  // Attributes that are hints of speed or memory and mean nothing here.
  void Ignore(std::initializer_list<std::string_view> names);
  // Copies attributes of the fused node to the last node made, where they are there.
  void PassOn(std::initializer_list<std::string_view> names);

  base::Error Refuse(std::string_view what) const { return base::Unimplemented(std::string(what)); }

  // ---- Its body ----

  // An op that ONNX lacks is one of ours, made here alone (kOurDomain).
  std::string Make(std::string_view op, std::initializer_list<std::string> inputs,
                   std::initializer_list<Attribute> attributes = {});
  std::string MakeFrom(std::string_view op, const std::vector<std::string>& inputs,
                       std::initializer_list<Attribute> attributes = {});
  // Several outputs.
  std::vector<std::string> MakeMany(std::string_view op, const std::vector<std::string>& inputs,
                                    size_t outputs,
                                    std::initializer_list<Attribute> attributes = {});
  std::string IntList(const std::vector<int64_t>& values);
  std::string IntScalar(int64_t value);
  std::string FloatList(const std::vector<float>& values);
  std::string StringList(const std::vector<std::string>& values);
  std::string Number32(float value);
  // A number of the element type of input `like`.
  std::string Number(float value, size_t like);
  std::string TensorConstant(onnx::TensorProto tensor);
  std::string CastTo(const std::string& value, tensor::DType type);

  // Often used. Adds where b is there.
  std::string AddMaybe(const std::string& a, const std::string& b);
  std::string Dimension(const std::string& value, int64_t axis);  // [1], i64
  void Output(int i, const std::string& value);

  // Checks that no attribute was left unread and every wanted output was made.
  base::Result<onnx::FunctionProto> Finish();

 private:
  const onnx::AttributeProto* Find(std::string_view name);
  onnx::NodeProto* NewNode(std::string_view op, const std::vector<std::string>& inputs);
  std::string NewName();

  const onnx::NodeProto& node_;
  std::span<Value* const> inputs_;
  onnx::FunctionProto function_;
  std::set<std::string, std::less<>> read_;
  std::vector<std::string> outputs_;
  int names_ = 0;
};

struct ContribOp {
  std::string_view name;
  base::Status (*expand)(ContribBody&);
  int opset_max = INT_MAX;  // of its domain; from there on the name means something else
  // Whether this node is spelled out, where others of the name are not. Null: all are.
  bool (*applies)(ContribBody&) = nullptr;
};
std::span<const ContribOp> ContribAttentionOps();
std::span<const ContribOp> ContribDenseOps();
std::span<const ContribOp> ContribDequantizedOps();
std::span<const ContribOp> ContribQuantizedOps();
std::span<const ContribOp> ClassicModelOps();
std::span<const ContribOp> FunctionOps();
std::span<const ContribOp> GroupedAttentionOps();
std::span<const ContribOp> StandardAttentionOps();
std::span<const ContribOp> TreeModelOps();

// Null where the operator is none that is spelled out.
const ContribOp* FindContrib(std::string_view domain, std::string_view op, int opset);
bool ContribApplies(const ContribOp& op, const onnx::NodeProto& node,
                    std::span<Value* const> inputs);
// A function whose inputs and outputs are the node's.
base::Result<onnx::FunctionProto> ExpandContrib(const ContribOp& op, const onnx::NodeProto& node,
                                                std::span<Value* const> inputs);

// ONNX's code of an element type.
int64_t ContribCode(tensor::DType dtype);
// The elements of a constant of floats, doubles or bytes.
base::Result<std::vector<double>> ContribNumbers(const tensor::Tensor& tensor);
// What ai.onnx.ml calls post_transform.
base::Result<std::string> ContribPostTransform(ContribBody& body, const std::string& scores,
                                               std::string_view name);
// The attributes classlabels_*: a constant of them and how many there are.
struct ContribLabels {
  std::string values;
  int64_t count = 0;
};
base::Result<ContribLabels> ContribClassLabels(ContribBody& body);

// An 8-bit operand of a product: names of its values, zero points optional.
struct IntegerFactor {
  std::string x, scale, zero;
};
// ((a - zero) @ (b - zero) + addend) * scales, f32; the i32 addend may be "".
std::string ContribIntegerProduct(ContribBody& body, const IntegerFactor& a, const IntegerFactor& b,
                                  const std::string& addend);

// `value` put through the activation that the attribute `activation` names.
base::Result<std::string> ContribActivation(ContribBody& body, const std::string& value,
                                            std::string_view alpha_attribute,
                                            std::string_view beta_attribute);

}  // namespace sluice::graph
