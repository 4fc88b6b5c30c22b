// encoder_bench MODEL.onnx [FORM [CASE [ROUNDS]]]: an encoder from a checkpoint beside the same
// shape as a packed graph, in turns, one thread, processor time: milliseconds of each, medians, and
// how many times the graph's time the checkpoint's is. FORM: f32, bf16, int8, …; CASE: 16x128,
// 1x32, 1x128 or mixed (32 sequences of 8 to 244 tokens, as bench/compare/mixed has them). The
// model is MiniLM's or BERT-base's shape as bench/compare writes them (build/compare/minilm.onnx);
// weights are random.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/processor_time.h"
#include "graph/executor.h"
#include "graph/model.h"
#include "graph/weight_choice.h"
#include "lm/encoder/encoder.h"
#include "tensor/arena.h"

namespace {

using namespace sluice;

constexpr int64_t kPartRows = 1024;  // of one run, as the engines cut

// Seeded values of every tensor that is asked for: what is measured does not depend on them.
class RandomTensors : public lm::Checkpoint {
 public:
  explicit RandomTensors(const lm::EncoderConfig& config) : config_(config) {}
  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    tensor::Tensor tensor =
        TRY(tensor::Tensor::Allocate(tensor::DType::kF32, ShapeOf(name), int64_t{1} << 33));
    uint32_t bits = static_cast<uint32_t>(name.size());
    for (float& x : tensor.mutable_view().span<float>()) {
      bits = bits * 1664525 + 1013904223;
      x = static_cast<float>(static_cast<int32_t>(bits)) * 2e-11f;
    }
    return tensor;
  }

 private:
  tensor::Shape ShapeOf(const std::string& name) const {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    const int64_t hidden = config_.hidden;
    if (has("bias") || has("LayerNorm")) {
      return {has("intermediate") ? config_.feed_forward : hidden};
    }
    if (has("word_embeddings")) return {config_.vocabulary, hidden};
    if (has("position_embeddings")) return {config_.context_max, hidden};
    if (has("token_type")) return {config_.types, hidden};
    if (has("intermediate")) return {config_.feed_forward, hidden};
    if (has("attention")) return {hidden, hidden};
    return {hidden, config_.feed_forward};
  }
  const lm::EncoderConfig config_;
};

std::vector<int64_t> LengthsOf(const std::string& name) {
  if (name == "1x32") return {32};
  if (name == "1x128") return {128};
  if (name == "16x128") return std::vector<int64_t>(16, 128);
  std::vector<int64_t> lengths = {244};
  std::mt19937 random(3);
  std::lognormal_distribution<double> draw(4.1, 0.75);
  while (lengths.size() < 32) {
    lengths.push_back(
        std::clamp(static_cast<int64_t>(std::lround(draw(random))), int64_t{8}, int64_t{244}));
  }
  return lengths;
}

// Runs of the sequences, each of at most kPartRows, about equal.
std::vector<std::vector<int64_t>> PartsOf(const std::vector<int64_t>& lengths) {
  int64_t rows = 0;
  for (const int64_t length : lengths) rows += length;
  const int64_t count = (rows + kPartRows - 1) / kPartRows;
  std::vector<std::vector<int64_t>> parts(1);
  int64_t in_part = 0;
  for (const int64_t length : lengths) {
    if (in_part > 0 && (in_part >= rows / count || in_part + length > kPartRows)) {
      parts.emplace_back();
      in_part = 0;
    }
    parts.back().push_back(length);
    in_part += length;
  }
  return parts;
}

int32_t TokenAt(int64_t row) {
  return static_cast<int32_t>(5 + row * 7919 % 30'000);
}

class GraphSide {
 public:
  GraphSide(const std::string& path, kernels::WeightForm form,
            const std::vector<std::vector<int64_t>>& parts) {
    graph::CompileOptions options;
    options.weights.emplace();
    options.weights->form = form;
    auto model = graph::Model::Load(path, options);
    CHECK(model.ok()) << model.error().message;
    model_ = *std::move(model);
    CHECK(model_->ragged() != nullptr) << "the graph has no packed form";
    int64_t memory = 0;
    for (const std::vector<int64_t>& lengths : parts) {
      memory = std::max(memory, AddPart(lengths));
    }
    auto arena = tensor::Arena::Create(memory);
    CHECK(arena.ok());
    arena_ = *std::move(arena);
  }
  void Run() {
    for (Part& part : parts_) {
      graph::ExecuteArgs args;
      args.inputs = part.inputs;
      args.outputs = part.outputs;
      args.memory = arena_.data();
      args.memory_bytes = arena_.capacity();
      CHECK(graph::Execute(*part.plan, args).ok());
    }
  }

 private:
  struct Part {
    std::unique_ptr<const graph::Plan> plan;
    std::vector<tensor::Buffer> buffers;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
  };

  int64_t AddPart(const std::vector<int64_t>& lengths) {
    int64_t rows = 0;
    for (const int64_t length : lengths) rows += length;
    Part part;
    auto plan = model_->NewRaggedPlan(rows, static_cast<int64_t>(lengths.size()));
    CHECK(plan.ok()) << plan.error().message;
    part.plan = *std::move(plan);
    const graph::RaggedForm& form = *model_->ragged();
    for (size_t i = 0; i < form.inputs.size(); ++i) {
      const graph::RaggedForm::Input& input = form.inputs[i];
      tensor::Buffer buffer = tensor::Buffer::Allocate(part.plan->input_shapes[i].elements() * 8);
      std::memset(buffer.mutable_data(), 0, static_cast<size_t>(buffer.bytes()));
      auto* const wide = reinterpret_cast<int64_t*>(buffer.mutable_data());
      auto* const narrow = reinterpret_cast<int32_t*>(buffer.mutable_data());
      int64_t row = 0;
      for (size_t sequence = 0; sequence < lengths.size(); ++sequence) {
        if (input.feed == graph::RaggedForm::Feed::kStarts)
          narrow[sequence] = static_cast<int32_t>(row);
        for (int64_t at = 0; at < lengths[sequence]; ++at, ++row) {
          if (input.feed == graph::RaggedForm::Feed::kPositions) wide[row] = at;
          if (input.feed != graph::RaggedForm::Feed::kTokens) continue;
          const std::string& name = model_->inputs()[static_cast<size_t>(input.index)].name;
          wide[row] = name == "input_ids" ? TokenAt(row) : name == "attention_mask" ? 1 : 0;
        }
      }
      if (input.feed == graph::RaggedForm::Feed::kStarts) {
        narrow[lengths.size()] = static_cast<int32_t>(row);
      }
      part.inputs.push_back(buffer.data());
      part.buffers.push_back(std::move(buffer));
    }
    for (const tensor::Shape& shape : part.plan->output_shapes) {
      tensor::Buffer buffer = tensor::Buffer::Allocate(shape.elements() * 8);
      part.outputs.push_back(buffer.mutable_data());
      part.buffers.push_back(std::move(buffer));
    }
    const int64_t bytes = part.plan->memory_bytes;
    parts_.push_back(std::move(part));
    return bytes;
  }

  std::shared_ptr<const graph::Model> model_;
  std::vector<Part> parts_;
  tensor::Arena arena_;
};

class CheckpointSide {
 public:
  CheckpointSide(const lm::EncoderConfig& config, kernels::WeightForm form,
                 const std::vector<std::vector<int64_t>>& parts) {
    auto encoder = lm::Encoder::Load(RandomTensors(config), config, form);
    CHECK(encoder.ok()) << encoder.error().message;
    encoder_ = *std::move(encoder);
    int64_t most = 0;
    for (const std::vector<int64_t>& lengths : parts) {
      lm::EncoderRows rows;
      for (const int64_t length : lengths) {
        std::vector<int32_t> ids;
        for (int64_t i = 0; i < length; ++i) ids.push_back(TokenAt(rows.rows() + i));
        rows.Add(ids, {});
      }
      most = std::max(most, rows.rows());
      parts_.push_back(std::move(rows));
    }
    auto arena = tensor::Arena::Create(encoder_.MemoryBytes(most));
    CHECK(arena.ok());
    arena_ = *std::move(arena);
  }
  void Run() {
    for (const lm::EncoderRows& rows : parts_) {
      lm::Runner runner({});
      CHECK(encoder_.Run(rows, arena_.data(), runner) != nullptr);
    }
  }

 private:
  lm::Encoder encoder_;
  std::vector<lm::EncoderRows> parts_;
  tensor::Arena arena_;
};

template <class Side>
double Milliseconds(Side& side, int repeats) {
  const double start = base::ProcessorSeconds();
  for (int i = 0; i < repeats; ++i) side.Run();
  return (base::ProcessorSeconds() - start) * 1e3 / repeats;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** words) {
  const std::string form_name = count > 2 ? words[2] : "f32";
  const std::string name = count > 3 ? words[3] : "16x128";
  const int rounds = count > 4 ? std::max(1, std::atoi(words[4])) : 15;
  const auto form = graph::ParseWeightForm(form_name);
  if (count < 2 || !form.ok()) {
    std::fprintf(stderr, "usage: encoder_bench MODEL.onnx [FORM [CASE [ROUNDS]]]\n");
    return 2;
  }
  const bool bert = std::string(words[1]).find("bert") != std::string::npos;
  lm::EncoderConfig config;
  config.vocabulary = 30'522;
  config.hidden = bert ? 768 : 384;
  config.layers = bert ? 12 : 6;
  config.heads = 12;
  config.head_dim = config.hidden / config.heads;
  config.feed_forward = 4 * config.hidden;
  config.context_max = 512;
  config.types = 2;
  const std::vector<int64_t> lengths = LengthsOf(name);
  const auto parts = PartsOf(lengths);
  GraphSide graph_side(words[1], *form, parts);
  CheckpointSide checkpoint_side(config, *form, parts);
  int64_t rows = 0;
  for (const int64_t length : lengths) rows += length;
  const int repeats = static_cast<int>(std::max<int64_t>(1, 1024 / rows));
  graph_side.Run();
  checkpoint_side.Run();
  std::vector<double> graph_ms, checkpoint_ms, ratios;
  for (int round = 0; round < rounds; ++round) {
    graph_ms.push_back(Milliseconds(graph_side, repeats));
    checkpoint_ms.push_back(Milliseconds(checkpoint_side, repeats));
    ratios.push_back(checkpoint_ms.back() / graph_ms.back());
  }
  std::printf("%s %s %s, %lld tokens: graph %.3f ms, checkpoint %.3f ms, ratio %.3f\n",
              bert ? "bert" : "minilm", form_name.c_str(), name.c_str(),
              static_cast<long long>(rows), Median(graph_ms), Median(checkpoint_ms),
              Median(ratios));
  return 0;
}
