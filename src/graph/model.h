// A loaded model: immutable, its weights packed, ready to be planned for concrete shapes and run.
// The way into this room for engines.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/batchability.h"
#include "graph/executor.h"
#include "graph/ir.h"
#include "graph/lower/program_builder.h"
#include "graph/onnx/reader.h"
#include "graph/passes/pass.h"
#include "graph/program.h"
#include "graph/ragged.h"
#include "graph/weight_choice.h"
#include "tensor/tensor.h"

namespace sluice::graph {

class PlanCache;
struct CompiledGraph;

struct CompileOptions {
  enum class Batch {
    kProve,    // join requests where a pass proves that rows are independent
    kDeclare,  // the configuration says they are
    kNever,
  };
  Batch batch = Batch::kProve;
  OnnxReadOptions read;
  PassOptions passes;
  // What linear layers keep their weights as; nothing: what the file beside the model says
  // (weight_choice.h), else f32.
  std::optional<WeightChoice> weights;
  MachineRates rates;
  int64_t plans_max = 256;  // kept at one time, by input shapes; the least recently used goes
  int64_t interpreted_bytes_max = int64_t{4} << 30;  // tensors of a run whose shapes depend on data
};

// One input or output as the file declares it.
struct TensorInterface {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  bool rank_known = true;
  std::vector<int64_t> dims;         // -1 where it varies
  std::vector<std::string> symbols;  // the name of each varying dimension, or empty
};

// Immutable and thread-safe (its plan cache locks for itself). Shared by every engine and loop that
// serves it.
class Model {
 public:
  // Reads, checks, optimises, packs. Errors are those of ReadOnnxFile; kInternal is our bug.
  static base::Result<std::shared_ptr<const Model>> Load(const std::string& path,
                                                         const CompileOptions& options);
  static base::Result<std::shared_ptr<const Model>> LoadBytes(std::string_view bytes,
                                                              const CompileOptions& options);
  static base::Result<std::shared_ptr<const Model>> Compile(OnnxModel model,
                                                            const CompileOptions& options);
  ~Model();

  const std::vector<TensorInterface>& inputs() const { return inputs_; }
  const std::vector<TensorInterface>& outputs() const { return outputs_; }
  // Whether requests may be joined along dimension 0.
  const Batchability& batchability() const { return batchability_; }
  // Whether some shapes depend on data (or on control flow): then Interpret runs it and
  // Plan::interpreted is set.
  bool interpreted() const { return interpreted_; }
  const std::string& interpreted_reason() const { return interpreted_reason_; }

  // The plan for these input shapes, from the cache or made now (microseconds to a millisecond;
  // allocates). kInvalidArgument names the input or node that does not take the shapes.
  base::Result<std::shared_ptr<const Plan>> PlanFor(std::span<const tensor::Shape> shapes) const;
  // The same, made now and kept by the caller alone.
  base::Result<std::unique_ptr<const Plan>> NewPlan(std::span<const tensor::Shape> shapes) const;
  // How the model runs over packed rows, all sequences of a step one behind the other without their
  // padding; null: it does not, and ragged_reason says why.
  const RaggedForm* ragged() const { return ragged_ == nullptr ? nullptr : &ragged_form_; }
  const std::string& ragged_reason() const { return ragged_reason_; }
  // A plan of the ragged form for this many rows and sequences, made now; rows behind the last
  // sequence are computed and mean nothing. Errors as PlanFor's.
  base::Result<std::unique_ptr<const Plan>> NewRaggedPlan(int64_t tokens, int64_t sequences) const;
  // Runs the reference interpreter: allocates, is slow, takes any model.
  base::Result<std::vector<tensor::Tensor>> Interpret(std::span<const tensor::Tensor> inputs) const;

  // Packed weights and constants that this model holds. Packed weights may be shared with other
  // models.
  int64_t weights_bytes() const { return weights_bytes_; }
  const PassResult& passes() const { return passes_; }
  const std::string& producer() const { return producer_; }
  int opset() const { return opset_; }
  // One line a node of the optimised graph, or of its ragged form if there is one.
  std::string DumpGraph() const;
  std::string DumpRagged() const;

 private:
  Model();

  std::vector<TensorInterface> inputs_;
  std::vector<TensorInterface> outputs_;
  Batchability batchability_;
  bool interpreted_ = false;
  std::string interpreted_reason_;
  int64_t weights_bytes_ = 0;
  PassResult passes_;
  std::string producer_;
  int opset_ = 0;
  CompileOptions options_;
  std::unique_ptr<CompiledGraph> compiled_;
  std::unique_ptr<PlanCache> plans_;
  std::unique_ptr<CompiledGraph> ragged_;  // null: there is none
  RaggedForm ragged_form_;
  std::string ragged_reason_ = "the model has no input that tells padding";
};

}  // namespace sluice::graph
