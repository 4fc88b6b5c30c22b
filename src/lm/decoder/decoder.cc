#include "lm/decoder/decoder.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/gather_rows.h"
#include "kernels/logit_rows.h"
#include "kernels/ref/blocks.h"
#include "kernels/row_norm.h"
#include "lm/linear/load_layers.h"
#include "lm/linear/memory_divider.h"

namespace sluice::lm {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

std::string LayerName(int64_t layer, const char* name, const char* kind = "weight") {
  return "model.layers." + std::to_string(layer) + "." + name + "." + kind;
}

// Calls f for each product of a layer.
template <class Layer, class F>
void ForEachLinear(const Layer& layer, F f) {
  f(layer.query_key_value);
  f(layer.attention_output);
  if (layer.experts.empty()) {
    f(layer.gate_up);
    f(layer.down);
    return;
  }
  f(layer.router);
  for (const auto& expert : layer.experts) {
    f(expert.gate_up);
    f(expert.down);
  }
}

}  // namespace

base::Result<Decoder> Decoder::Load(const Checkpoint& checkpoint, const DecoderConfig& config,
                                    const Options& options) {
  Decoder decoder;
  decoder.config_ = config;
  decoder.options_ = options;
  const int64_t length = options.length_max > 0 ? options.length_max : config.context_max;
  decoder.config_.rotary.length = decoder.config_.window_rotary.length = length;
  decoder.embedding_ = TRY(checkpoint.GetStored("model.embed_tokens.weight",
                                                tensor::Shape({config.vocabulary, config.hidden})));
  decoder.layers_.resize(static_cast<size_t>(config.layers));
  const auto load = [&](int64_t i) -> base::Status {
    decoder.layers_[static_cast<size_t>(i)] = TRY(decoder.LoadLayer(checkpoint, i, options));
    return base::Ok();
  };
  TRY(LoadLayers(config.layers, load));
  decoder.final_norm_ = TRY(decoder.LoadNorm(checkpoint, "model.norm.weight", config.hidden));
  if (config.classes > 0) {
    const StoredTensor classes =
        TRY(checkpoint.GetStored("score.weight", tensor::Shape({config.classes, config.hidden})));
    // It is small, and it decides.
    decoder.head_ = TRY(Linear::Load({classes}, LinearForm(kernels::WeightForm::kF32)));
    return decoder;
  }
  if (!config.has_head) return decoder;
  StoredTensor head = decoder.embedding_;
  if (!config.tied_head) {
    head = TRY(
        checkpoint.GetStored("lm_head.weight", tensor::Shape({config.vocabulary, config.hidden})));
  }
  const bool int4 = options.form.kind == LinearForm::Kind::kInt4;
  decoder.head_ =
      TRY(Linear::Load({head}, int4 ? LinearForm(kernels::WeightForm::kInt8) : options.form));
  return decoder;
}

base::Result<std::vector<float>> Decoder::LoadNorm(const Checkpoint& checkpoint,
                                                   const std::string& name, int64_t size) const {
  std::vector<float> scale = TRY(checkpoint.GetVector(name, size));
  if (config_.norms_less_one) {
    for (float& x : scale) x += 1;
  }
  return scale;
}

base::Status Decoder::LoadProjections(const Checkpoint& checkpoint, int64_t index,
                                      const Options& options, Layer& layer) const {
  const DecoderConfig& c = config_;
  const int64_t queries = c.heads * c.head_dim;
  const int64_t keys = c.key_heads * c.head_dim;
  struct Part {
    const char* name;
    int64_t outputs;
  };
  const auto pack = [&](std::initializer_list<Part> parts, int64_t inputs) -> base::Result<Linear> {
    std::vector<StoredTensor> tensors;
    for (const Part& part : parts) {
      tensors.push_back(TRY(checkpoint.GetStored(LayerName(index, part.name),
                                                 tensor::Shape({part.outputs, inputs}))));
    }
    return Linear::Load(tensors, options.form);
  };
  const auto bias_of = [&](std::initializer_list<Part> parts) -> base::Result<std::vector<float>> {
    std::vector<float> bias;
    for (const Part& part : parts) {
      const std::vector<float> own =
          TRY(checkpoint.GetVector(LayerName(index, part.name, "bias"), part.outputs));
      bias.insert(bias.end(), own.begin(), own.end());
    }
    return bias;
  };
  if (c.merged_projections) {
    layer.query_key_value = TRY(pack({{"self_attn.qkv_proj", queries + 2 * keys}}, c.hidden));
  } else {
    layer.query_key_value = TRY(pack(
        {{"self_attn.q_proj", queries}, {"self_attn.k_proj", keys}, {"self_attn.v_proj", keys}},
        c.hidden));
  }
  if (c.query_key_value_bias) {
    layer.query_key_value.set_bias(TRY(bias_of(
        {{"self_attn.q_proj", queries}, {"self_attn.k_proj", keys}, {"self_attn.v_proj", keys}})));
  }
  layer.attention_output = TRY(pack({{"self_attn.o_proj", c.hidden}}, queries));
  if (c.attention_output_bias) {
    layer.attention_output.set_bias(TRY(bias_of({{"self_attn.o_proj", c.hidden}})));
  }
  if (c.is_sparse(index)) return LoadExperts(checkpoint, index, options, layer);
  if (c.merged_projections) {
    layer.gate_up = TRY(pack({{"mlp.gate_up_proj", 2 * c.feed_forward}}, c.hidden));
  } else {
    layer.gate_up =
        TRY(pack({{"mlp.gate_proj", c.feed_forward}, {"mlp.up_proj", c.feed_forward}}, c.hidden));
  }
  layer.down = TRY(pack({{"mlp.down_proj", c.hidden}}, c.feed_forward));
  if (c.feed_forward_bias) {
    layer.gate_up.set_bias(
        TRY(bias_of({{"mlp.gate_proj", c.feed_forward}, {"mlp.up_proj", c.feed_forward}})));
    layer.down.set_bias(TRY(bias_of({{"mlp.down_proj", c.hidden}})));
  }
  return base::Ok();
}

base::Result<Decoder::Layer> Decoder::LoadLayer(const Checkpoint& checkpoint, int64_t index,
                                                const Options& options) const {
  const DecoderConfig& c = config_;
  const auto norm = [&](const char* name, int64_t size) {
    return LoadNorm(checkpoint, LayerName(index, name), size);
  };
  Layer layer;
  layer.attention_norm = TRY(norm("input_layernorm", c.hidden));
  if (c.outer_norms) {
    layer.attention_outer = TRY(norm("post_attention_layernorm", c.hidden));
    layer.feed_forward_norm = TRY(norm("pre_feedforward_layernorm", c.hidden));
    layer.feed_forward_outer = TRY(norm("post_feedforward_layernorm", c.hidden));
  } else {
    layer.feed_forward_norm = TRY(norm("post_attention_layernorm", c.hidden));
  }
  if (c.head_norms) {
    layer.query_norm = TRY(norm("self_attn.q_norm", c.head_dim));
    layer.key_norm = TRY(norm("self_attn.k_norm", c.head_dim));
  }
  TRY(LoadProjections(checkpoint, index, options, layer));
  return layer;
}

int64_t Decoder::weight_bytes() const {
  // A head in the blocks of the embedding is those.
  const bool one = head_.reads(embedding_.buffer.data());
  int64_t bytes = product_bytes() + (one ? 0 : embedding_.buffer.bytes());
  bytes += static_cast<int64_t>(final_norm_.size()) * kFloatBytes;
  for (const Layer& layer : layers_) {
    for (const std::vector<float>* norm :
         {&layer.attention_norm, &layer.attention_outer, &layer.feed_forward_norm,
          &layer.feed_forward_outer, &layer.query_norm, &layer.key_norm}) {
      bytes += static_cast<int64_t>(norm->size()) * kFloatBytes;
    }
  }
  return bytes;
}

int64_t Decoder::product_bytes() const {
  int64_t bytes = head_.weight_bytes();
  for (const Layer& layer : layers_) {
    ForEachLinear(layer, [&](const Linear& linear) { bytes += linear.weight_bytes(); });
  }
  return bytes;
}

int64_t Decoder::parameters() const {
  int64_t count = head_.k() * head_.n();
  for (const Layer& layer : layers_) {
    ForEachLinear(layer, [&](const Linear& linear) { count += linear.k() * linear.n(); });
    // A token asks few of the experts.
    const auto silent = static_cast<int64_t>(layer.experts.size()) - config_.experts_per_token;
    if (silent > 0) count -= silent * 3 * config_.hidden * config_.expert_feed_forward;
  }
  return count;
}

int64_t Decoder::cache_layer_bytes() const {
  return kernels::CacheLayerBytes(options_.cache_type, config_.key_heads, config_.head_dim);
}

Decoder::Space Decoder::Divide(std::byte* memory, int64_t rows, int64_t logits) const {
  const DecoderConfig& c = config_;
  MemoryDivider divider(memory);
  Space space;
  space.rows = rows;
  const int64_t queries = c.heads * c.head_dim;
  space.stream = divider.Floats(rows * kernels::GemmRowStride(c.hidden));
  space.normed = divider.Floats(rows * kernels::GemmRowStride(c.hidden));
  const int64_t kept = divider.used();
  space.logits = divider.Floats(logits * head_.n());
  space.head_scratch = divider.Bytes(head_.ScratchBytes(logits));
  const int64_t head_end = divider.used();
  divider.Rewind(kept);
  space.wide =
      divider.Floats(rows * std::max({queries + 2 * c.key_heads * c.head_dim, 2 * c.feed_forward,
                                      2 * c.expert_feed_forward, c.experts, c.hidden}));
  space.attended = divider.Floats(
      rows * kernels::GemmRowStride(std::max({queries, c.feed_forward, c.expert_feed_forward})));
  for (int kind = 0; kind < 2; ++kind) {
    const int64_t turned = (kind == 0 ? c.rotary : c.window_rotary).turned;
    space.cos[kind] = divider.Floats(rows * turned / 2);
    space.sin[kind] = divider.Floats(rows * turned / 2);
  }
  if (c.experts > 0) {
    space.routed = divider.Floats(rows * kernels::GemmRowStride(c.hidden));
    space.said = divider.Floats(rows * c.hidden);
    space.shares = divider.Floats(rows * c.experts);
    space.asking = reinterpret_cast<int32_t*>(divider.Floats(rows));
  }
  int64_t scratch = 0;
  for (const Layer& layer : layers_) {
    for (const Linear* linear : {&layer.query_key_value, &layer.attention_output, &layer.gate_up,
                                 &layer.down, &layer.router}) {
      scratch = std::max(scratch, linear->ScratchBytes(rows));
    }
    // Experts of one layer are alike.
    if (layer.experts.empty()) continue;
    const Expert& expert = layer.experts[0];
    scratch =
        std::max({scratch, expert.gate_up.ScratchBytes(rows), expert.down.ScratchBytes(rows)});
  }
  space.scratch = divider.Bytes(scratch);
  space.bytes = std::max(head_end, divider.used());
  return space;
}

int64_t Decoder::MemoryBytes(int64_t rows, int64_t logits) const {
  return Divide(nullptr, rows, logits).bytes;
}

bool Decoder::RunNorm(const float* x, int64_t rows, const std::vector<float>& scale, float* y,
                      Runner& runner) const {
  kernels::RowNormArgs args;
  args.rows = rows;
  args.columns = config_.hidden;
  args.x = x;
  args.x_stride = config_.hidden;
  args.scale = scale.data();
  args.y = y;
  args.y_stride = kernels::GemmRowStride(config_.hidden);
  args.epsilon = config_.norm_epsilon;
  args.rms = true;
  return runner.Run(kernels::RowNormTiles, kernels::RowNorm, kernels::RowNormWork(args), args);
}

bool Decoder::Embed(const StepRows& rows, Space& space, Runner& runner) const {
  const int64_t hidden = config_.hidden;
  const tensor::BlockFormat format = embedding_.format;
  const std::byte* const table = embedding_.buffer.data();
  const std::optional<tensor::DType> plain = tensor::PlainDType(format);
  if (plain.has_value()) {
    kernels::GatherRowsArgs gather;
    gather.table = {table, *plain, config_.vocabulary, hidden};
    gather.indices = {rows.tokens.data(), false};
    gather.count = space.rows;
    gather.y = space.stream;
    gather.y_stride = hidden;
    CHECK_EQ(kernels::GatherRows(gather, {0, kernels::GatherRowsTiles(gather)}),
             kernels::kAllInRange);
  } else {
    const int64_t row_bytes = hidden / tensor::BlockElements(format) * tensor::BlockBytes(format);
    constexpr double kElementNs = 1;
    const double whole_ns = kElementNs * static_cast<double>(space.rows * hidden);
    const bool done = runner.RunTiles(space.rows, whole_ns, [&](kernels::Tiles range) {
      for (int64_t row = range.begin; row < range.end; ++row) {
        const int64_t token = rows.tokens[static_cast<size_t>(row)];
        CHECK(token >= 0 && token < config_.vocabulary);
        kernels::ref::DequantiseBlocks(format, table + token * row_bytes, hidden,
                                       space.stream + row * hidden);
      }
    });
    if (!done) return false;
  }
  if (config_.embedding_scale != 1) {
    for (int64_t i = 0; i < space.rows * hidden; ++i) space.stream[i] *= config_.embedding_scale;
  }
  return true;
}

const float* Decoder::Run(StepRows& rows, const CacheMemory& cache, std::byte* memory,
                          Runner& runner) const {
  States states;
  const auto count = static_cast<int64_t>(rows.logit_rows.size());
  const bool done =
      RunLayers(rows, cache, memory, count, states, runner) && RunHead(states, 0, count, runner);
  return done ? states.logits : nullptr;
}

bool Decoder::RunLayers(StepRows& rows, const CacheMemory& cache, std::byte* memory, int64_t logits,
                        States& states, Runner& runner) const {
  Space space = Divide(memory, rows.rows(), logits);
  for (const kv::BlockCopy& copy : rows.copies) {
    std::memcpy(cache.data + copy.to * cache.block_bytes,
                cache.data + copy.from * cache.block_bytes, static_cast<size_t>(cache.block_bytes));
  }
  if (!Embed(rows, space, runner)) return false;
  FillAngles(config_.rotary, rows.positions, space.cos[0], space.sin[0]);
  if (!config_.windowed.empty()) {
    FillAngles(config_.window_rotary, rows.positions, space.cos[1], space.sin[1]);
  }
  space.tiles = kernels::PlanCachedAttention(rows.sequences.data(),
                                             static_cast<int64_t>(rows.sequences.size()),
                                             config_.heads, config_.key_heads);
  kernels::CacheLayer part;
  part.data = cache.data;
  part.block_bytes = cache.block_bytes;
  part.type = cache.type;
  part.heads = config_.key_heads;
  part.dim = config_.head_dim;
  for (int64_t i = 0; i < config_.layers; ++i) {
    if (!RunAttention(i, rows, part, space, runner)) return false;
    if (!RunFeedForward(layers_[static_cast<size_t>(i)], space, runner)) return false;
    part.data += cache.layer_bytes;
  }
  return PickStates(rows, space, states, runner);
}

bool Decoder::AddToStream(const Linear& linear, const float* x, int64_t x_stride,
                          const std::vector<float>& outer_norm, Space& space,
                          Runner& runner) const {
  const int64_t hidden = config_.hidden;
  const bool outer = !outer_norm.empty();
  LinearRows product;
  product.rows = space.rows;
  product.x = x;
  product.x_stride = x_stride;
  product.residual = outer ? nullptr : space.stream;
  product.residual_stride = hidden;
  // Result and residual may not be one: they change places through the normed rows.
  product.y = outer ? space.wide : space.normed;
  product.y_stride = hidden;
  if (!linear.Run(runner, product, space.scratch)) return false;
  if (!outer) {
    std::swap(space.stream, space.normed);
    return true;
  }
  if (!RunNorm(space.wide, space.rows, outer_norm, space.normed, runner)) return false;
  const int64_t stride = kernels::GemmRowStride(hidden);
  const auto bytes = static_cast<double>(space.rows * hidden * kFloatBytes);
  return runner.RunTiles(space.rows, bytes / 4, [&](kernels::Tiles range) {
    for (int64_t row = range.begin; row < range.end; ++row) {
      float* const to = space.stream + row * hidden;
      const float* const from = space.normed + row * stride;
      for (int64_t i = 0; i < hidden; ++i) to[i] += from[i];
    }
  });
}

bool Decoder::RunAttention(int64_t index, const StepRows& rows, const kernels::CacheLayer& cache,
                           Space& space, Runner& runner) const {
  const DecoderConfig& c = config_;
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const bool windowed = c.is_windowed(index);
  const int kind = windowed ? 1 : 0;
  const int64_t queries = c.heads * c.head_dim;
  if (!RunNorm(space.stream, space.rows, layer.attention_norm, space.normed, runner)) return false;
  LinearRows product;
  product.rows = space.rows;
  product.x = space.normed;
  product.x_stride = kernels::GemmRowStride(c.hidden);
  product.y = space.wide;
  product.y_stride = layer.query_key_value.n();
  if (!layer.query_key_value.Run(runner, product, space.scratch)) return false;

  kernels::CacheWriteArgs write;
  write.rows = space.rows;
  write.heads = c.heads;
  write.qkv = space.wide;
  write.qkv_row = product.y_stride;
  write.slots = rows.slots.data();
  write.layer = cache;
  write.query_scale = c.head_norms ? layer.query_norm.data() : nullptr;
  write.key_scale = c.head_norms ? layer.key_norm.data() : nullptr;
  write.epsilon = c.norm_epsilon;
  write.turned = (windowed ? c.window_rotary : c.rotary).turned;
  write.interleaved = c.rotary.interleaved;
  write.cos = space.cos[kind];
  write.sin = space.sin[kind];
  if (!runner.Run(kernels::CacheWriteTiles, kernels::CacheWrite, kernels::CacheWriteWork(write),
                  write)) {
    return false;
  }
  kernels::CachedAttentionArgs attend;
  attend.sequences = rows.sequences.data();
  attend.sequence_count = static_cast<int64_t>(rows.sequences.size());
  attend.heads = c.heads;
  attend.q = space.wide;
  attend.q_row = product.y_stride;
  attend.out = space.attended;
  attend.out_row = kernels::GemmRowStride(queries);
  attend.layer = cache;
  attend.scale = c.attention_scale;
  attend.cap = c.attention_cap;
  attend.window = windowed ? c.window : 0;
  attend.tiles = space.tiles;
  if (!runner.Run(kernels::CachedAttentionTiles, kernels::CachedAttention,
                  kernels::CachedAttentionWork(attend), attend)) {
    return false;
  }
  return AddToStream(layer.attention_output, space.attended, attend.out_row, layer.attention_outer,
                     space, runner);
}

bool Decoder::RunGate(const Linear& gate_up, const float* x, int64_t rows, Space& space,
                      Runner& runner) const {
  LinearRows product;
  product.rows = rows;
  product.x = x;
  product.x_stride = kernels::GemmRowStride(config_.hidden);
  product.y = space.attended;
  product.y_stride = kernels::GemmRowStride(gate_up.n() / 2);
  return gate_up.RunGated(runner, product, config_.activation, space.wide, space.scratch);
}

bool Decoder::RunFeedForward(const Layer& layer, Space& space, Runner& runner) const {
  if (!RunNorm(space.stream, space.rows, layer.feed_forward_norm, space.normed, runner)) {
    return false;
  }
  if (!layer.experts.empty()) return RunExperts(layer, space, runner);
  if (!RunGate(layer.gate_up, space.normed, space.rows, space, runner)) return false;
  return AddToStream(layer.down, space.attended, kernels::GemmRowStride(layer.down.k()),
                     layer.feed_forward_outer, space, runner);
}

bool Decoder::PickStates(const StepRows& rows, Space& space, States& states, Runner& runner) const {
  float* picked = space.wide;  // the layers are done with it
  for (const std::vector<int32_t>* list : {&rows.logit_rows, &rows.state_rows}) {
    for (const int32_t row : *list) {
      std::memcpy(picked, space.stream + row * config_.hidden,
                  static_cast<size_t>(config_.hidden * kFloatBytes));
      picked += config_.hidden;
    }
  }
  states.rows = space.normed;
  states.stride = kernels::GemmRowStride(config_.hidden);
  states.logits = space.logits;
  states.scratch = space.head_scratch;
  const int64_t count = (picked - space.wide) / config_.hidden;
  return count == 0 || RunNorm(space.wide, count, final_norm_, space.normed, runner);
}

bool Decoder::RunHead(const States& states, int64_t first, int64_t count, Runner& runner) const {
  if (count == 0) return true;
  LinearRows product;
  product.rows = count;
  product.x = states.rows + first * states.stride;
  product.x_stride = states.stride;
  product.y = states.logits;
  product.y_stride = head_.n();
  return head_.Run(runner, product, states.scratch) && Cap(states.logits, count, head_.n(), runner);
}

bool Decoder::RunHeadColumns(const States& states, int64_t first, int64_t count,
                             const ColumnPlaces& columns, float* logits, Runner& runner) const {
  for (int64_t done = 0; done < count; done += Linear::kColumnRowsMax) {
    LinearRows product;
    product.rows = std::min(Linear::kColumnRowsMax, count - done);
    product.x = states.rows + (first + done) * states.stride;
    product.x_stride = states.stride;
    product.y = logits + done * columns.size();
    product.y_stride = columns.size();
    if (!head_.RunColumns(runner, product, columns, states.scratch)) return false;
  }
  return Cap(logits, count, columns.size(), runner);
}

bool Decoder::Cap(float* logits, int64_t rows, int64_t columns, Runner& runner) const {
  if (config_.logit_cap <= 0) return true;
  return runner.RunTiles(rows, static_cast<double>(rows * columns), [&](kernels::Tiles range) {
    kernels::CapLogits(logits + range.begin * columns, (range.end - range.begin) * columns,
                       config_.logit_cap);
  });
}

}  // namespace sluice::lm
