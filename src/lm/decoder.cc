#include "lm/decoder.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/gated_rows.h"
#include "kernels/gather_rows.h"
#include "kernels/row_norm.h"

namespace sluice::lm {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

// Hands out pieces of a step's memory, or only counts them.
class Divider {
 public:
  explicit Divider(std::byte* memory) : memory_(memory) {}
  float* Floats(int64_t count) { return reinterpret_cast<float*>(Bytes(count * kFloatBytes)); }
  std::byte* Bytes(int64_t bytes) {
    constexpr auto kAlignment = static_cast<int64_t>(tensor::kAlignment);
    std::byte* const at = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  int64_t used() const { return used_; }

 private:
  std::byte* memory_;
  int64_t used_ = 0;
};

std::string LayerName(int64_t layer, const char* name) {
  return "model.layers." + std::to_string(layer) + "." + name + ".weight";
}

}  // namespace

// Where the values of a step lie. Rows that a product reads are kernels::GemmRowStride apart,
// others follow one another without gaps. `stream` and `normed` change places.
struct Decoder::Space {
  int64_t rows = 0;
  float* stream = nullptr;    // [rows, hidden] the residual stream
  float* normed = nullptr;    // [rows, hidden]
  float* wide = nullptr;      // [rows, the widest layer]
  float* attended = nullptr;  // [rows, the widest input of a layer back]
  float* cos = nullptr;       // [rows, turned / 2]
  float* sin = nullptr;
  float* picked = nullptr;  // [logits, hidden]
  std::byte* scratch = nullptr;
  int64_t bytes = 0;
};

base::Result<Decoder> Decoder::Load(const Checkpoint& checkpoint, const DecoderConfig& config,
                                    const Options& options) {
  Decoder decoder;
  decoder.config_ = config;
  decoder.options_ = options;
  decoder.embedding_ = TRY(checkpoint.Get("model.embed_tokens.weight",
                                          tensor::Shape({config.vocabulary, config.hidden})));
  for (int64_t i = 0; i < config.layers; ++i) {
    decoder.layers_.push_back(TRY(decoder.LoadLayer(checkpoint, i, options)));
  }
  decoder.final_norm_ = TRY(checkpoint.GetVector("model.norm.weight", config.hidden));
  tensor::Tensor head = decoder.embedding_;
  if (!config.tied_head) {
    head = TRY(checkpoint.Get("lm_head.weight", tensor::Shape({config.vocabulary, config.hidden})));
  }
  decoder.head_ = TRY(Linear::Pack({TransposedSource(head)}, options.form));
  return decoder;
}

base::Result<Decoder::Layer> Decoder::LoadLayer(const Checkpoint& checkpoint, int64_t index,
                                                const Options& options) const {
  const DecoderConfig& c = config_;
  const auto matrix = [&](const char* name, int64_t outputs,
                          int64_t inputs) -> base::Result<tensor::Tensor> {
    return checkpoint.Get(LayerName(index, name), tensor::Shape({outputs, inputs}));
  };
  const int64_t queries = c.heads * c.head_dim;
  const int64_t keys = c.key_heads * c.head_dim;
  Layer layer;
  layer.attention_norm = TRY(checkpoint.GetVector(LayerName(index, "input_layernorm"), c.hidden));
  layer.feed_forward_norm =
      TRY(checkpoint.GetVector(LayerName(index, "post_attention_layernorm"), c.hidden));
  const tensor::Tensor q = TRY(matrix("self_attn.q_proj", queries, c.hidden));
  const tensor::Tensor k = TRY(matrix("self_attn.k_proj", keys, c.hidden));
  const tensor::Tensor v = TRY(matrix("self_attn.v_proj", keys, c.hidden));
  layer.query_key_value = TRY(
      Linear::Pack({TransposedSource(q), TransposedSource(k), TransposedSource(v)}, options.form));
  const tensor::Tensor o = TRY(matrix("self_attn.o_proj", c.hidden, queries));
  layer.attention_output = TRY(Linear::Pack({TransposedSource(o)}, options.form));
  const tensor::Tensor gate = TRY(matrix("mlp.gate_proj", c.feed_forward, c.hidden));
  const tensor::Tensor up = TRY(matrix("mlp.up_proj", c.feed_forward, c.hidden));
  layer.gate_up = TRY(Linear::Pack({TransposedSource(gate), TransposedSource(up)}, options.form));
  const tensor::Tensor down = TRY(matrix("mlp.down_proj", c.hidden, c.feed_forward));
  layer.down = TRY(Linear::Pack({TransposedSource(down)}, options.form));
  return layer;
}

int64_t Decoder::weight_bytes() const {
  int64_t bytes = head_.weight_bytes();
  for (const Layer& layer : layers_) {
    bytes += layer.query_key_value.weight_bytes() + layer.attention_output.weight_bytes() +
             layer.gate_up.weight_bytes() + layer.down.weight_bytes();
  }
  return bytes;
}

int64_t Decoder::parameters() const {
  int64_t count = head_.k() * head_.n();
  for (const Layer& layer : layers_) {
    for (const Linear* linear :
         {&layer.query_key_value, &layer.attention_output, &layer.gate_up, &layer.down}) {
      count += linear->k() * linear->n();
    }
  }
  return count;
}

int64_t Decoder::cache_layer_bytes() const {
  return kernels::CacheLayerBytes(options_.cache_type, config_.key_heads, config_.head_dim);
}

Decoder::Space Decoder::Divide(std::byte* memory, int64_t rows, int64_t logits) const {
  const DecoderConfig& c = config_;
  Divider divider(memory);
  Space space;
  space.rows = rows;
  const int64_t queries = c.heads * c.head_dim;
  space.stream = divider.Floats(rows * kernels::GemmRowStride(c.hidden));
  space.normed = divider.Floats(rows * kernels::GemmRowStride(c.hidden));
  space.wide =
      divider.Floats(rows * std::max(queries + 2 * c.key_heads * c.head_dim, 2 * c.feed_forward));
  space.attended = divider.Floats(rows * kernels::GemmRowStride(std::max(queries, c.feed_forward)));
  space.cos = divider.Floats(rows * c.rotary.turned / 2);
  space.sin = divider.Floats(rows * c.rotary.turned / 2);
  space.picked = divider.Floats(logits * c.hidden);
  int64_t scratch = head_.ScratchBytes(logits);
  for (const Layer& layer : layers_) {
    for (const Linear* linear :
         {&layer.query_key_value, &layer.attention_output, &layer.gate_up, &layer.down}) {
      scratch = std::max(scratch, linear->ScratchBytes(rows));
    }
  }
  space.scratch = divider.Bytes(scratch);
  space.bytes = divider.used();
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

bool Decoder::Run(StepRows& rows, const CacheMemory& cache, std::byte* memory, float* logits,
                  Runner& runner) const {
  Space space = Divide(memory, rows.rows(), static_cast<int64_t>(rows.logit_rows.size()));
  for (const kv::BlockCopy& copy : rows.copies) {
    std::memcpy(cache.data + copy.to * cache.block_bytes,
                cache.data + copy.from * cache.block_bytes, static_cast<size_t>(cache.block_bytes));
  }
  kernels::GatherRowsArgs embed;
  embed.table = {embedding_.buffer.data(), embedding_.dtype, config_.vocabulary, config_.hidden};
  embed.indices = {rows.tokens.data(), false};
  embed.count = space.rows;
  embed.y = space.stream;
  embed.y_stride = config_.hidden;
  CHECK_EQ(kernels::GatherRows(embed, {0, kernels::GatherRowsTiles(embed)}), kernels::kAllInRange);
  FillAngles(config_.rotary, rows.positions, space.cos, space.sin);
  const int64_t tiles = kernels::PlanCachedAttention(rows.sequences.data(),
                                                     static_cast<int64_t>(rows.sequences.size()),
                                                     config_.heads, config_.key_heads);
  kernels::CacheLayer part;
  part.data = cache.data;
  part.block_bytes = cache.block_bytes;
  part.type = cache.type;
  part.heads = config_.key_heads;
  part.dim = config_.head_dim;
  for (const Layer& layer : layers_) {
    if (!RunLayer(layer, rows, part, tiles, space, runner)) return false;
    part.data += cache.layer_bytes;
  }
  return rows.logit_rows.empty() || RunHead(rows, space, logits, runner);
}

bool Decoder::RunLayer(const Layer& layer, const StepRows& rows, const kernels::CacheLayer& cache,
                       int64_t tiles, Space& space, Runner& runner) const {
  const DecoderConfig& c = config_;
  const int64_t queries = c.heads * c.head_dim;
  const int64_t normed_stride = kernels::GemmRowStride(c.hidden);
  if (!RunNorm(space.stream, space.rows, layer.attention_norm, space.normed, runner)) return false;
  LinearRows product;
  product.rows = space.rows;
  product.x = space.normed;
  product.x_stride = normed_stride;
  product.y = space.wide;
  product.y_stride = layer.query_key_value.n();
  if (!layer.query_key_value.Run(runner, product, space.scratch)) return false;

  kernels::CacheWriteArgs write;
  write.rows = space.rows;
  write.heads = c.heads;
  write.qkv = space.wide;
  write.qkv_row = layer.query_key_value.n();
  write.slots = rows.slots.data();
  write.layer = cache;
  write.turned = c.rotary.turned;
  write.interleaved = c.rotary.interleaved;
  write.cos = space.cos;
  write.sin = space.sin;
  if (!runner.Run(kernels::CacheWriteTiles, kernels::CacheWrite, kernels::CacheWriteWork(write),
                  write)) {
    return false;
  }
  kernels::CachedAttentionArgs attend;
  attend.sequences = rows.sequences.data();
  attend.sequence_count = static_cast<int64_t>(rows.sequences.size());
  attend.heads = c.heads;
  attend.q = space.wide;
  attend.q_row = layer.query_key_value.n();
  attend.out = space.attended;
  attend.out_row = kernels::GemmRowStride(queries);
  attend.layer = cache;
  attend.scale = c.attention_scale;
  attend.tiles = tiles;
  if (!runner.Run(kernels::CachedAttentionTiles, kernels::CachedAttention,
                  kernels::CachedAttentionWork(attend), attend)) {
    return false;
  }
  // The stream is residual and result at once through the normed rows, which nobody needs now.
  product.x = space.attended;
  product.x_stride = attend.out_row;
  product.residual = space.stream;
  product.residual_stride = c.hidden;
  product.y = space.normed;
  product.y_stride = c.hidden;
  if (!layer.attention_output.Run(runner, product, space.scratch)) return false;
  std::swap(space.stream, space.normed);

  if (!RunNorm(space.stream, space.rows, layer.feed_forward_norm, space.normed, runner)) {
    return false;
  }
  product.x = space.normed;
  product.x_stride = normed_stride;
  product.residual = nullptr;
  product.y = space.wide;
  product.y_stride = layer.gate_up.n();
  if (!layer.gate_up.Run(runner, product, space.scratch)) return false;
  kernels::GatedRowsArgs gate;
  gate.rows = space.rows;
  gate.columns = c.feed_forward;
  gate.x = space.wide;
  gate.x_stride = layer.gate_up.n();
  gate.y = space.attended;
  gate.y_stride = kernels::GemmRowStride(c.feed_forward);
  gate.activation = c.activation;
  if (!runner.Run(kernels::GatedRowsTiles, kernels::GatedRows, kernels::GatedRowsWork(gate),
                  gate)) {
    return false;
  }
  product.x = space.attended;
  product.x_stride = gate.y_stride;
  product.residual = space.stream;
  product.residual_stride = c.hidden;
  product.y = space.normed;
  product.y_stride = c.hidden;
  if (!layer.down.Run(runner, product, space.scratch)) return false;
  std::swap(space.stream, space.normed);
  return true;
}

bool Decoder::RunHead(const StepRows& rows, Space& space, float* logits, Runner& runner) const {
  const auto count = static_cast<int64_t>(rows.logit_rows.size());
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(space.picked + i * config_.hidden,
                space.stream + rows.logit_rows[static_cast<size_t>(i)] * config_.hidden,
                static_cast<size_t>(config_.hidden * kFloatBytes));
  }
  if (!RunNorm(space.picked, count, final_norm_, space.normed, runner)) return false;
  LinearRows product;
  product.rows = count;
  product.x = space.normed;
  product.x_stride = kernels::GemmRowStride(config_.hidden);
  product.y = logits;
  product.y_stride = config_.vocabulary;
  return head_.Run(runner, product, space.scratch);
}

}  // namespace sluice::lm
