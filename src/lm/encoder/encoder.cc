#include "lm/encoder/encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "kernels/gather_rows.h"
#include "kernels/low_attention.h"
#include "kernels/rotary.h"
#include "lm/linear/load_layers.h"
#include "tensor/float16.h"

namespace sluice::lm {
namespace {

using kernels::LowPath;

constexpr double kBytesPerNs = 4;  // of look-ups, for cutting them into pieces

// The rows as a product of `path` takes them.
template <class Prepared>
kernels::LowRows RowsFor(const Prepared& prepared, int64_t columns, LowPath path) {
  kernels::LowRows rows;
  rows.data = prepared.data;
  rows.stride = kernels::LowRowBytes(columns, path);
  rows.scales = prepared.scales;
  rows.zeros = prepared.zeros;
  return rows;
}

// Element i of a tensor of f32, f16 or bf16.
float ElementOf(const tensor::Tensor& tensor, int64_t i) {
  const tensor::ConstView view = tensor.view();
  if (tensor.dtype == tensor::DType::kF32) return view.as<float>()[i];
  if (tensor.dtype == tensor::DType::kF16) return tensor::ToFloat(view.as<tensor::F16>()[i]);
  return tensor::ToFloat(view.as<tensor::BF16>()[i]);
}

bool Gather(const kernels::GatherRowsArgs& args, Runner& runner) {
  const double ns = static_cast<double>(kernels::GatherRowsWork(args).bytes) / kBytesPerNs;
  return runner.RunTiles(kernels::GatherRowsTiles(args), ns, [&](kernels::Tiles range) {
    // The request was checked: every id is a row.
    CHECK_EQ(kernels::GatherRows(args, range), kernels::kAllInRange);
  });
}

}  // namespace

void EncoderRows::Reserve(int64_t rows, int64_t sequences) {
  for (std::vector<int32_t>* list : {&tokens, &types, &positions}) {
    list->reserve(static_cast<size_t>(rows));
  }
  starts.reserve(static_cast<size_t>(sequences + 1));
}

void EncoderRows::Clear() {
  tokens.clear();
  types.clear();
  positions.clear();
  starts.assign(1, 0);
  longest = 0;
}

void EncoderRows::Add(std::span<const int32_t> ids, std::span<const int32_t> type_ids) {
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  if (type_ids.empty()) {
    types.resize(tokens.size(), 0);
  } else {
    types.insert(types.end(), type_ids.begin(), type_ids.end());
  }
  for (size_t i = 0; i < ids.size(); ++i) positions.push_back(static_cast<int32_t>(i));
  starts.push_back(static_cast<int32_t>(tokens.size()));
  longest = std::max(longest, static_cast<int64_t>(ids.size()));
}

// --- Loading.

base::Result<Encoder> Encoder::Load(const Checkpoint& checkpoint, const EncoderConfig& config,
                                    kernels::WeightForm form) {
  Encoder encoder;
  encoder.config_ = config;
  const bool modern = config.is_modern();
  const std::string words =
      modern ? "embeddings.tok_embeddings.weight" : "embeddings.word_embeddings.weight";
  for (const char* prefix : {"", "bert.", "roberta.", "model."}) {
    encoder.prefix_ = prefix;
    if (checkpoint.Find(prefix + words).ok()) break;
    encoder.prefix_.clear();
  }
  encoder.words_ = TRY(
      checkpoint.Get(encoder.prefix_ + words, tensor::Shape({config.vocabulary, config.hidden})));
  if (!modern) TRY(encoder.LoadPlaces(checkpoint));
  encoder.embedding_norm_ = TRY(encoder.LoadNorm(
      checkpoint, encoder.prefix_ + (modern ? "embeddings.norm" : "embeddings.LayerNorm")));
  encoder.layers_.resize(static_cast<size_t>(config.layers));
  const auto load = [&](int64_t i) -> base::Status {
    encoder.layers_[static_cast<size_t>(i)] = TRY(encoder.LoadLayer(checkpoint, i, form));
    return base::Ok();
  };
  TRY(LoadLayers(config.layers, load));
  if (modern) {
    encoder.final_norm_ = TRY(encoder.LoadNorm(checkpoint, encoder.prefix_ + "final_norm"));
  }
  return encoder;
}

// Both embeddings of a row come from one table of sums: a look-up and an addition less.
base::Status Encoder::LoadPlaces(const Checkpoint& checkpoint) {
  const EncoderConfig& c = config_;
  const tensor::Tensor positions =
      TRY(checkpoint.Get(prefix_ + "embeddings.position_embeddings.weight",
                         tensor::Shape({c.first_position + c.context_max, c.hidden})));
  const tensor::Tensor types = TRY(checkpoint.Get(
      prefix_ + "embeddings.token_type_embeddings.weight", tensor::Shape({c.types, c.hidden})));
  places_.resize(static_cast<size_t>(c.types * c.context_max * c.hidden));
  float* to = places_.data();
  for (int64_t type = 0; type < c.types; ++type) {
    for (int64_t at = 0; at < c.context_max; ++at) {
      for (int64_t i = 0; i < c.hidden; ++i) {
        *to++ = ElementOf(positions, (c.first_position + at) * c.hidden + i) +
                ElementOf(types, type * c.hidden + i);
      }
    }
  }
  return base::Ok();
}

base::Result<Encoder::Norm> Encoder::LoadNorm(const Checkpoint& checkpoint,
                                              const std::string& name) const {
  Norm norm;
  // Checkpoints from TensorFlow's days call them gamma and beta.
  const bool older =
      !checkpoint.Find(name + ".weight").ok() && checkpoint.Find(name + ".gamma").ok();
  norm.scale = TRY(checkpoint.GetVector(name + (older ? ".gamma" : ".weight"), config_.hidden));
  if (config_.is_modern() && !config_.norm_bias) return norm;
  norm.bias = TRY(checkpoint.GetVector(name + (older ? ".beta" : ".bias"), config_.hidden));
  return norm;
}

namespace {

struct LinearPart {
  std::string name;
  int64_t outputs = 0;
};

// The parts' columns side by side.
base::Result<Linear> LoadLinear(const Checkpoint& checkpoint, const std::vector<LinearPart>& parts,
                                int64_t inputs, bool biased, kernels::WeightForm form) {
  std::vector<StoredTensor> tensors;
  std::vector<float> bias;
  for (const LinearPart& part : parts) {
    tensors.push_back(
        TRY(checkpoint.GetStored(part.name + ".weight", tensor::Shape({part.outputs, inputs}))));
    if (!biased) continue;
    const std::vector<float> own = TRY(checkpoint.GetVector(part.name + ".bias", part.outputs));
    bias.insert(bias.end(), own.begin(), own.end());
  }
  Linear linear = TRY(Linear::Load(tensors, form));
  if (biased) linear.set_bias(std::move(bias));
  return linear;
}

}  // namespace

base::Status Encoder::LoadBertLayer(const Checkpoint& checkpoint, const std::string& at,
                                    kernels::WeightForm form, Layer& layer) const {
  const int64_t hidden = config_.hidden;
  const std::string own = at + "attention.self.";
  layer.query_key_value = TRY(LoadLinear(
      checkpoint, {{own + "query", hidden}, {own + "key", hidden}, {own + "value", hidden}}, hidden,
      true, form));
  layer.attention_output =
      TRY(LoadLinear(checkpoint, {{at + "attention.output.dense", hidden}}, hidden, true, form));
  layer.attention_norm = TRY(LoadNorm(checkpoint, at + "attention.output.LayerNorm"));
  layer.up = TRY(LoadLinear(checkpoint, {{at + "intermediate.dense", config_.feed_forward}}, hidden,
                            true, form));
  layer.down = TRY(
      LoadLinear(checkpoint, {{at + "output.dense", hidden}}, config_.feed_forward, true, form));
  layer.feed_forward_norm = TRY(LoadNorm(checkpoint, at + "output.LayerNorm"));
  return base::Ok();
}

base::Status Encoder::LoadModernLayer(const Checkpoint& checkpoint, int64_t index,
                                      const std::string& at, kernels::WeightForm form,
                                      Layer& layer) const {
  const EncoderConfig& c = config_;
  // The embeddings' norm stands in front of the first layer.
  if (index > 0) layer.attention_norm = TRY(LoadNorm(checkpoint, at + "attn_norm"));
  layer.query_key_value = TRY(
      LoadLinear(checkpoint, {{at + "attn.Wqkv", 3 * c.hidden}}, c.hidden, c.attention_bias, form));
  layer.attention_output =
      TRY(LoadLinear(checkpoint, {{at + "attn.Wo", c.hidden}}, c.hidden, c.attention_bias, form));
  layer.feed_forward_norm = TRY(LoadNorm(checkpoint, at + "mlp_norm"));
  layer.up = TRY(LoadLinear(checkpoint, {{at + "mlp.Wi", 2 * c.feed_forward}}, c.hidden,
                            c.feed_forward_bias, form));
  layer.down = TRY(LoadLinear(checkpoint, {{at + "mlp.Wo", c.hidden}}, c.feed_forward,
                              c.feed_forward_bias, form));
  return base::Ok();
}

base::Result<Encoder::Layer> Encoder::LoadLayer(const Checkpoint& checkpoint, int64_t index,
                                                kernels::WeightForm form) const {
  Layer layer;
  if (config_.is_modern()) {
    const std::string at = prefix_ + "layers." + std::to_string(index) + ".";
    TRY(LoadModernLayer(checkpoint, index, at, form, layer));
  } else {
    const std::string at = prefix_ + "encoder.layer." + std::to_string(index) + ".";
    TRY(LoadBertLayer(checkpoint, at, form, layer));
  }
  return layer;
}

int64_t Encoder::weight_bytes() const {
  int64_t bytes = words_.bytes() + static_cast<int64_t>(places_.size() * sizeof(float));
  for (const Layer& layer : layers_) {
    bytes += layer.query_key_value.weight_bytes() + layer.attention_output.weight_bytes() +
             layer.up.weight_bytes() + layer.down.weight_bytes();
  }
  return bytes;
}

int64_t Encoder::parameters() const {
  int64_t count = 0;
  for (const Layer& layer : layers_) {
    for (const Linear* linear :
         {&layer.query_key_value, &layer.attention_output, &layer.up, &layer.down}) {
      count += linear->k() * linear->n();
    }
  }
  return count;
}

// --- A step's memory.

Encoder::Prepared Encoder::TakePrepared(MemoryDivider& divider, int64_t rows,
                                        int64_t columns) const {
  Prepared prepared;
  int64_t stride = 0;
  for (int path = 0; path < kernels::kLowPathCount; ++path) {
    if (static_cast<LowPath>(path) == LowPath::kWiden) continue;
    stride = std::max(stride, kernels::LowRowBytes(columns, static_cast<LowPath>(path)));
  }
  prepared.data = divider.Bytes(rows * stride);
  prepared.scales = divider.Floats(rows);
  prepared.zeros = divider.Floats(rows);
  return prepared;
}

Encoder::Space Encoder::Divide(std::byte* memory, int64_t rows) const {
  const EncoderConfig& c = config_;
  const int64_t stride = kernels::GemmRowStride(c.hidden);
  const auto takes_prepared = [&](Linear Layer::*linear) {
    return std::any_of(layers_.begin(), layers_.end(),
                       [&](const Layer& layer) { return (layer.*linear).path().has_value(); });
  };
  MemoryDivider divider(memory);
  Space space;
  space.rows = rows;
  space.stream = divider.Floats(rows * stride);
  space.middle = divider.Floats(rows * stride);
  if (c.is_modern()) {
    space.normed = divider.Floats(rows * stride);
    for (int kind = 0; kind < 2; ++kind) {
      space.cos[kind] = divider.Floats(rows * c.head_dim / 2);
      space.sin[kind] = divider.Floats(rows * c.head_dim / 2);
    }
  }
  if (takes_prepared(&Layer::query_key_value) || takes_prepared(&Layer::up)) {
    space.input = TakePrepared(divider, rows, c.hidden);
  }
  int64_t scratch = 0;
  for (const Layer& layer : layers_) {
    for (const Linear* linear :
         {&layer.query_key_value, &layer.attention_output, &layer.up, &layer.down}) {
      scratch = std::max(scratch, linear->ScratchBytes(rows));
    }
  }
  space.scratch = divider.Bytes(scratch);
  const int64_t halves = divider.used();
  space.heads = reinterpret_cast<float*>(
      divider.Bytes(rows * std::max(3 * c.hidden * static_cast<int64_t>(sizeof(float)),
                                    kernels::LowRowBytes(3 * c.hidden, LowPath::kBF16Tiles))));
  if (c.is_modern()) space.turned = divider.Floats(rows * 2 * c.hidden);
  space.attended = divider.Floats(rows * stride);
  if (takes_prepared(&Layer::attention_output)) {
    space.attended_rows = TakePrepared(divider, rows, c.hidden);
  }
  const int64_t first = divider.used();
  divider.Rewind(halves);
  if (c.is_modern()) space.wide = divider.Floats(rows * 2 * c.feed_forward);
  space.inner = divider.Floats(rows * kernels::GemmRowStride(c.feed_forward));
  if (takes_prepared(&Layer::down)) {
    space.inner_rows = TakePrepared(divider, rows, c.feed_forward);
  }
  space.bytes = std::max(first, divider.used());
  return space;
}

int64_t Encoder::MemoryBytes(int64_t rows) const {
  return Divide(nullptr, rows).bytes;
}

// --- A step.

bool Encoder::RunNorm(const Norm& norm, const NormRows& rows, Space& space, Runner& runner) const {
  kernels::RowNormArgs args;
  args.rows = space.rows;
  args.columns = config_.hidden;
  args.x = rows.x;
  args.x_stride = kernels::GemmRowStride(config_.hidden);
  args.residual = rows.residual;
  args.residual_stride = args.x_stride;
  args.scale = norm.scale.data();
  args.bias = norm.bias.empty() ? nullptr : norm.bias.data();
  args.y = rows.y;
  args.y_stride = rows.y_stride;
  args.epsilon = config_.norm_epsilon;
  if (rows.next != nullptr && rows.next->path().has_value()) {
    args.prepared_path = *rows.next->path();
    args.prepared = RowsFor(space.input, config_.hidden, args.prepared_path);
  }
  return runner.Run(kernels::RowNormTiles, kernels::RowNorm, kernels::RowNormWork(args), args);
}

bool Encoder::Embed(const EncoderRows& rows, Space& space, Runner& runner) const {
  const EncoderConfig& c = config_;
  const int64_t stride = kernels::GemmRowStride(c.hidden);
  kernels::GatherRowsArgs words;
  words.table = {words_.buffer.data(), words_.dtype, c.vocabulary, c.hidden};
  words.indices = {rows.tokens.data(), false};
  words.count = space.rows;
  words.y = space.stream;
  words.y_stride = stride;
  if (!Gather(words, runner)) return false;
  NormRows norm{space.stream, nullptr, space.stream, stride, &layers_[0].query_key_value};
  if (!c.is_modern()) {
    // Scratch holds an index a row: nothing else is there yet.
    auto* const at = reinterpret_cast<int32_t*>(space.inner);
    for (int64_t i = 0; i < space.rows; ++i) {
      const auto row = static_cast<size_t>(i);
      at[i] = static_cast<int32_t>(rows.types[row] * c.context_max + rows.positions[row]);
    }
    kernels::GatherRowsArgs places;
    places.table = {places_.data(), tensor::DType::kF32, c.types * c.context_max, c.hidden};
    places.indices = {at, false};
    places.count = space.rows;
    places.y = space.middle;
    places.y_stride = stride;
    if (!Gather(places, runner)) return false;
    norm.residual = space.middle;
  }
  return RunNorm(embedding_norm_, norm, space, runner);
}

bool Encoder::AttendsLow(const Layer& layer) const {
  return !config_.is_modern() && kernels::HasLowAttention() &&
         kernels::LowAttentionTakes(config_.head_dim, config_.head_dim) &&
         layer.query_key_value.Prepares(LowPath::kBF16Tiles);
}

kernels::AttentionArgs Encoder::HeadsOf(int64_t index, const EncoderRows& rows) const {
  const EncoderConfig& c = config_;
  kernels::AttentionArgs args;
  args.batch = rows.sequences();
  args.heads = c.heads;
  args.queries = args.keys = rows.longest;
  args.dim = args.value_dim = c.head_dim;
  args.q.head = args.k.head = args.v.head = c.head_dim;
  args.out_head = c.head_dim;
  args.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  args.sequence_starts = rows.starts.data();
  if (c.is_windowed(index)) args.window_before = args.window_after = c.window;
  return args;
}

bool Encoder::AttendLow(int64_t index, const EncoderRows& rows, Space& space,
                        Runner& runner) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  kernels::LowAttentionArgs args;
  args.heads = HeadsOf(index, rows);
  const int64_t row = kernels::LowRowBytes(3 * config_.hidden, LowPath::kBF16Tiles) / 2;
  args.q = reinterpret_cast<const uint16_t*>(space.heads);
  args.k = args.q + config_.hidden;
  args.v = args.k + config_.hidden;
  args.heads.q.row = args.heads.k.row = args.heads.v.row = row;
  args.heads.out = space.attended;
  args.heads.out_row = kernels::GemmRowStride(config_.hidden);
  const std::optional<LowPath> path = layer.attention_output.path();
  if (path.has_value()) {
    args.rows_path = *path;
    args.rows = RowsFor(space.attended_rows, config_.hidden, *path);
    args.heads.out_row = config_.hidden;
  }
  constexpr double kSpeedup = 2.5;  // about, over attention in f32
  return runner.Run(kernels::LowAttentionTiles, kernels::LowAttention,
                    kernels::LowAttentionWork(args), args, kSpeedup);
}

bool Encoder::Attend(int64_t index, const EncoderRows& rows, Space& space, Runner& runner) const {
  const int64_t hidden = config_.hidden;
  kernels::AttentionArgs args = HeadsOf(index, rows);
  args.q.data = space.heads;
  args.k.data = space.heads + hidden;
  args.v.data = space.heads + 2 * hidden;
  args.q.row = args.k.row = args.v.row = 3 * hidden;
  args.out = space.attended;
  args.out_row = kernels::GemmRowStride(hidden);
  if (config_.is_modern()) {
    const int kind = config_.is_windowed(index) ? 1 : 0;
    const int64_t half = config_.head_dim / 2;
    kernels::RotaryArgs turn;
    turn.extents[0] = space.rows;
    turn.extents[1] = 2 * config_.heads;
    turn.width = turn.turned = config_.head_dim;
    turn.by_pair = true;
    turn.x = {space.heads, {3 * hidden, config_.head_dim, 0}};
    turn.cos = {space.cos[kind], {half, 0, 0}};
    turn.sin = {space.sin[kind], {half, 0, 0}};
    turn.y = space.turned;
    turn.y_strides[0] = 2 * hidden;
    turn.y_strides[1] = config_.head_dim;
    if (!runner.Run(kernels::RotaryTiles, kernels::Rotary, kernels::RotaryWork(turn), turn)) {
      return false;
    }
    args.q.data = space.turned;
    args.k.data = space.turned + hidden;
    args.q.row = args.k.row = 2 * hidden;
  }
  return runner.Run(kernels::AttentionTiles, kernels::Attention, kernels::AttentionWork(args),
                    args);
}

bool Encoder::RunAttention(int64_t index, const EncoderRows& rows, Space& space,
                           Runner& runner) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const int64_t hidden = config_.hidden;
  const int64_t stride = kernels::GemmRowStride(hidden);
  const float* input = space.stream;
  if (config_.is_modern() && index > 0) {
    if (!RunNorm(layer.attention_norm,
                 {space.stream, nullptr, space.normed, stride, &layer.query_key_value}, space,
                 runner)) {
      return false;
    }
    input = space.normed;
  }
  LinearRows product;
  product.rows = space.rows;
  product.x = input;
  product.x_stride = stride;
  if (const auto path = layer.query_key_value.path()) {
    product.prepared = RowsFor(space.input, hidden, *path);
  }
  const bool low = AttendsLow(layer);
  if (low) {
    product.out.data = reinterpret_cast<std::byte*>(space.heads);
    product.out.stride = kernels::LowRowBytes(3 * hidden, LowPath::kBF16Tiles);
    product.out_path = LowPath::kBF16Tiles;
  } else {
    product.y = space.heads;
    product.y_stride = 3 * hidden;
  }
  if (!layer.query_key_value.Run(runner, product, space.scratch)) return false;
  if (!(low ? AttendLow(index, rows, space, runner) : Attend(index, rows, space, runner))) {
    return false;
  }
  LinearRows back;
  back.rows = space.rows;
  back.x = space.attended;
  back.x_stride = stride;
  if (const auto path = layer.attention_output.path(); low && path.has_value()) {
    back.prepared = RowsFor(space.attended_rows, hidden, *path);
  }
  back.residual = space.stream;
  back.residual_stride = stride;
  back.y = space.middle;
  back.y_stride = stride;
  if (!layer.attention_output.Run(runner, back, space.scratch)) return false;
  // Behind the first half, or before the second one.
  float* const normed = config_.is_modern() ? space.normed : space.middle;
  const Norm& norm = config_.is_modern() ? layer.feed_forward_norm : layer.attention_norm;
  return RunNorm(norm, {space.middle, nullptr, normed, stride, &layer.up}, space, runner);
}

bool Encoder::RunFeedForward(const Layer& layer, Space& space, Runner& runner) const {
  const int64_t stride = kernels::GemmRowStride(config_.hidden);
  const int64_t inner_stride = kernels::GemmRowStride(config_.feed_forward);
  const std::optional<LowPath> down_path = layer.down.path();
  LinearRows product;
  product.rows = space.rows;
  product.x = config_.is_modern() ? space.normed : space.middle;
  product.x_stride = stride;
  if (const auto path = layer.up.path()) {
    product.prepared = RowsFor(space.input, config_.hidden, *path);
  }
  LinearRows back;
  back.rows = space.rows;
  back.x = space.inner;
  back.x_stride = inner_stride;
  back.residual = space.middle;
  back.residual_stride = stride;
  back.y = space.stream;
  back.y_stride = stride;
  if (config_.is_modern()) {
    product.y = space.inner;
    product.y_stride = inner_stride;
    if (!layer.up.RunGated(runner, product, config_.activation, space.wide, space.scratch)) {
      return false;
    }
  } else {
    product.activation = config_.activation;
    product.y = space.inner;
    product.y_stride = inner_stride;
    if (down_path.has_value() && layer.up.Prepares(*down_path)) {
      product.out = RowsFor(space.inner_rows, config_.feed_forward, *down_path);
      product.out_path = *down_path;
      back.prepared = product.out;
    }
    if (!layer.up.Run(runner, product, space.scratch)) return false;
  }
  return layer.down.Run(runner, back, space.scratch);
}

const float* Encoder::Run(const EncoderRows& rows, std::byte* memory, Runner& runner) const {
  Space space = Divide(memory, rows.rows());
  if (config_.is_modern()) {
    FillAngles(config_.rotary, rows.positions, space.cos[0], space.sin[0]);
    FillAngles(config_.window_rotary, rows.positions, space.cos[1], space.sin[1]);
  }
  if (!Embed(rows, space, runner)) return nullptr;
  const int64_t stride = kernels::GemmRowStride(config_.hidden);
  for (int64_t i = 0; i < config_.layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    if (!RunAttention(i, rows, space, runner)) return nullptr;
    if (!RunFeedForward(layer, space, runner)) return nullptr;
    if (config_.is_modern()) continue;
    const bool last = i + 1 == config_.layers;
    const Linear* const next =
        last ? nullptr : &layers_[static_cast<size_t>(i + 1)].query_key_value;
    // In place, but for the last one, whose rows lie without gaps.
    float* const to = last ? space.middle : space.stream;
    if (!RunNorm(layer.feed_forward_norm,
                 {space.stream, nullptr, to, last ? config_.hidden : stride, next}, space,
                 runner)) {
      return nullptr;
    }
  }
  if (config_.is_modern() &&
      !RunNorm(final_norm_, {space.stream, nullptr, space.middle, config_.hidden, nullptr}, space,
               runner)) {
    return nullptr;
  }
  return space.middle;
}

}  // namespace sluice::lm
