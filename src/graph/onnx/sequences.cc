#include "graph/onnx/sequences.h"

#include <map>
#include <set>
#include <string>

namespace sluice::graph {
namespace {

// Sequences that are rewritten, each with a look at its loop's whole body; a model has one a table.
constexpr int kSequencesMax = 2048;

int64_t IntAttribute(const onnx::NodeProto& node, const char* name, int64_t fallback) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return attribute.i();
  }
  return fallback;
}

onnx::GraphProto* BodyOf(onnx::NodeProto& node) {
  for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.name() == "body" && attribute.has_g()) return attribute.mutable_g();
  }
  return nullptr;
}

// How often each name is read by the nodes and subgraphs of `graph`, and as its outputs.
void CountReads(const onnx::GraphProto& graph, std::map<std::string, int>& reads) {
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) ++reads[input];
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) CountReads(attribute.g(), reads);
    }
  }
  for (const onnx::ValueInfoProto& output : graph.output()) ++reads[output.name()];
}

onnx::NodeProto* MakerOf(onnx::GraphProto& graph, const std::string& name) {
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (const std::string& output : node.output()) {
      if (output == name) return &node;
    }
  }
  return nullptr;
}

onnx::NodeProto* AddNode(onnx::GraphProto& graph, const char* op, const std::string& name,
                         std::initializer_list<std::string> inputs, const std::string& output) {
  onnx::NodeProto* node = graph.add_node();
  node->set_op_type(op);
  node->set_name(name);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  return node;
}

// The rows stacked as [n, r, ...] laid end to end as [n * r, ...]; `result` is its name.
void AddFlattening(onnx::GraphProto& graph, const std::string& stacked, const std::string& result) {
  onnx::AttributeProto* start =
      AddNode(graph, "Shape", result, {stacked}, result + ".extents")->add_attribute();
  start->set_name("start");
  start->set_type(onnx::AttributeProto::INT);
  start->set_i(2);
  onnx::TensorProto* open = graph.add_initializer();
  open->set_name(result + ".open");
  open->set_data_type(onnx::TensorProto::INT64);
  open->add_dims(1);
  open->add_int64_data(-1);
  onnx::AttributeProto* axis =
      AddNode(graph, "Concat", result, {result + ".open", result + ".extents"}, result + ".shape")
          ->add_attribute();
  axis->set_name("axis");
  axis->set_type(onnx::AttributeProto::INT);
  axis->set_i(0);
  AddNode(graph, "Reshape", result, {stacked, result + ".shape"}, result);
}

// The name that the body inserts into what it carries as `in` and hands on as `out`; empty when it
// does something else with it.
std::string InsertedRow(onnx::GraphProto& body, const std::string& in, const std::string& out) {
  std::map<std::string, int> reads;
  CountReads(body, reads);
  const onnx::NodeProto* insert = MakerOf(body, out);
  const bool fits = insert != nullptr && insert->op_type() == "SequenceInsert" &&
                    insert->input_size() == 2 && insert->input(0) == in && reads[in] == 1 &&
                    reads[out] == 1;
  return fits ? insert->input(1) : std::string();
}

// Carried value `k` of `loop`, read by `reader`; false when it is no such sequence.
bool RewriteOne(onnx::GraphProto& graph, onnx::NodeProto& loop, int k, onnx::NodeProto& reader) {
  onnx::GraphProto* body = BodyOf(loop);
  if (body == nullptr || body->input_size() <= 2 + k || body->output_size() <= 1 + k) return false;
  const std::string row = InsertedRow(*body, body->input(2 + k).name(), body->output(1 + k).name());
  if (row.empty() || IntAttribute(reader, "axis", 0) != 0) return false;
  const bool new_axis = IntAttribute(reader, "new_axis", 0) != 0;
  const std::string result = reader.output(0);
  const std::string stacked = new_axis ? result : result + ".stacked";
  onnx::NodeProto* insert = MakerOf(*body, body->output(1 + k).name());
  insert->set_op_type("Identity");
  insert->clear_input();
  insert->add_input(row);
  insert->set_output(0, row + ".row");
  body->mutable_input()->DeleteSubrange(2 + k, 1);
  body->mutable_output()->DeleteSubrange(1 + k, 1);
  body->add_output()->set_name(row + ".row");
  loop.mutable_input()->DeleteSubrange(2 + k, 1);
  loop.mutable_output()->DeleteSubrange(k, 1);
  loop.add_output(stacked);
  reader.Clear();
  reader.set_op_type("Identity");
  reader.add_input(stacked);
  reader.add_output(result + ".collected");
  if (!new_axis) AddFlattening(graph, stacked, result);
  return true;
}

}  // namespace

void RewriteSequences(onnx::GraphProto& graph, int64_t opset) {
  constexpr int64_t kShapeWithStart = 15;
  if (opset < kShapeWithStart) return;
  bool any = false;
  std::map<std::string, int> reads;
  std::set<std::string> empty;
  for (const onnx::NodeProto& node : graph.node()) {
    if (node.op_type() == "SequenceEmpty" && node.output_size() == 1) empty.insert(node.output(0));
  }
  if (empty.empty()) return;
  CountReads(graph, reads);
  std::map<std::string, onnx::NodeProto*> loops;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    if (node.op_type() != "Loop") continue;
    for (const std::string& output : node.output()) loops[output] = &node;
  }
  int left = kSequencesMax;
  const int nodes = graph.node_size();
  for (int at = 0; at < nodes && left > 0; ++at) {
    if (graph.node(at).op_type() != "ConcatFromSequence" || graph.node(at).input_size() != 1 ||
        graph.node(at).output_size() != 1)
      continue;
    const std::string sequence = graph.node(at).input(0);
    const auto made = loops.find(sequence);
    if (made == loops.end() || reads[sequence] != 1) continue;
    onnx::NodeProto* const loop = made->second;
    --left;
    int k = 0;
    while (k < loop->output_size() && loop->output(k) != sequence) ++k;
    if (loop->input_size() <= 2 + k || empty.count(loop->input(2 + k)) == 0) continue;
    any = RewriteOne(graph, *loop, k, *graph.mutable_node(at)) || any;
  }
  if (!any) return;
  // What was carried before the loops is read by nobody now.
  reads.clear();
  CountReads(graph, reads);
  for (int at = graph.node_size() - 1; at >= 0; --at) {
    const onnx::NodeProto& node = graph.node(at);
    const bool idle = node.op_type() == "SequenceEmpty" && node.output_size() == 1 &&
                      reads.find(node.output(0)) == reads.end();
    if (idle) graph.mutable_node()->DeleteSubrange(at, 1);
  }
}

}  // namespace sluice::graph
