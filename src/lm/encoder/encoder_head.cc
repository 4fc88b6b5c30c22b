#include "lm/encoder/encoder_head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/row_norm.h"
#include "kernels/segments.h"
#include "lm/checkpoint/safetensors_checkpoint.h"
#include "lm/linear/memory_divider.h"

namespace sluice::lm {
namespace {

constexpr double kBytesPerNs = 4;  // of pooling, for cutting it into pieces

base::Result<Linear> LoadLinear(const Checkpoint& checkpoint, const std::string& name,
                                int64_t inputs, int64_t outputs, bool biased) {
  const StoredTensor weight =
      TRY(checkpoint.GetStored(name + ".weight", tensor::Shape({outputs, inputs})));
  Linear linear = TRY(Linear::Load({weight}, kernels::WeightForm::kF32));
  if (biased) linear.set_bias(TRY(checkpoint.GetVector(name + ".bias", outputs)));
  return linear;
}

}  // namespace

base::Result<EncoderHead> EncoderHead::LoadEmbedding(const std::string& folder,
                                                     const SentenceModules& modules,
                                                     const EncoderConfig& config) {
  EncoderHead head;
  head.columns_ = config.hidden;
  head.pooling_ = modules.pooling;
  head.width_ = config.hidden * static_cast<int64_t>(head.pooling_.size());
  for (const SentenceModules::Dense& dense : modules.dense) {
    if (dense.inputs != head.width_) {
      return base::InvalidArgument(dense.folder + "/config.json: in_features: expected " +
                                   std::to_string(head.width_) + ", got " +
                                   std::to_string(dense.inputs));
    }
    const SafetensorsCheckpoint checkpoint =
        TRY(SafetensorsCheckpoint::Open(folder + "/" + dense.folder));
    Layer layer;
    layer.linear = TRY(LoadLinear(checkpoint, "linear", dense.inputs, dense.outputs, dense.bias));
    layer.activation = dense.activation;
    head.layers_.push_back(std::move(layer));
    head.width_ = dense.outputs;
  }
  return head;
}

base::Result<EncoderHead> EncoderHead::LoadClassifier(const Checkpoint& checkpoint,
                                                      const EncoderConfig& config) {
  EncoderHead head;
  const int64_t hidden = config.hidden;
  head.columns_ = hidden;
  head.width_ = static_cast<int64_t>(config.labels.size());
  head.pooling_ = {config.classifier_mean ? PoolingMode::kMean : PoolingMode::kFirst};
  Layer first, second;
  first.activation = config.classifier_activation;
  std::string last = "classifier";
  switch (config.family) {
    case EncoderFamily::kBert:
      first.linear = TRY(LoadLinear(checkpoint, "bert.pooler.dense", hidden, hidden, true));
      break;
    case EncoderFamily::kRoberta:
      first.linear = TRY(LoadLinear(checkpoint, "classifier.dense", hidden, hidden, true));
      last = "classifier.out_proj";
      break;
    case EncoderFamily::kModernBert:
      first.linear =
          TRY(LoadLinear(checkpoint, "head.dense", hidden, hidden, config.classifier_bias));
      first.norm_scale = TRY(checkpoint.GetVector("head.norm.weight", hidden));
      if (config.norm_bias) first.norm_bias = TRY(checkpoint.GetVector("head.norm.bias", hidden));
      head.norm_epsilon_ = config.norm_epsilon;
      break;
  }
  second.linear = TRY(LoadLinear(checkpoint, last, hidden, head.width_, true));
  head.layers_.push_back(std::move(first));
  head.layers_.push_back(std::move(second));
  return head;
}

int64_t EncoderHead::weight_bytes() const {
  int64_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.linear.weight_bytes();
  return bytes;
}

int64_t EncoderHead::MemoryBytes(int64_t sequences) const {
  MemoryDivider divider(nullptr);
  divider.Floats(sequences * columns_ * static_cast<int64_t>(pooling_.size()));
  for (const Layer& layer : layers_) divider.Floats(sequences * layer.linear.n());
  return divider.used();
}

// A row of `out` for each mode, side by side. Sums are in the order of the tokens.
void EncoderHead::Pool(const float* hidden, const EncoderRows& rows, int64_t sequence,
                       float* out) const {
  const int32_t* const starts = rows.starts.data() + sequence;
  const auto length = static_cast<float>(starts[1] - starts[0]);
  kernels::SegmentReduceArgs args;
  args.segments = 1;
  args.rows = rows.rows();
  args.columns = columns_;
  args.starts = starts;
  args.x = hidden;
  for (const PoolingMode mode : pooling_) {
    args.y = out;
    args.mode = mode == PoolingMode::kFirst ? kernels::SegmentMode::kFirst
                : mode == PoolingMode::kMax ? kernels::SegmentMode::kMax
                                            : kernels::SegmentMode::kSum;
    float divisor = 1;
    if (mode == PoolingMode::kLast) {
      const float* const last = hidden + (starts[1] - 1) * columns_;
      std::copy(last, last + columns_, out);
    } else if (mode == PoolingMode::kWeightedMean) {
      std::fill(out, out + columns_, 0.0f);
      for (int32_t row = starts[0]; row < starts[1]; ++row) {
        const auto weight = static_cast<float>(row - starts[0] + 1);
        for (int64_t i = 0; i < columns_; ++i) out[i] += hidden[row * columns_ + i] * weight;
      }
      divisor = length * (length + 1) / 2;
    } else {
      kernels::SegmentReduce(args, {0, 1});
      if (mode == PoolingMode::kMean) divisor = length;
      if (mode == PoolingMode::kMeanSqrt) divisor = std::sqrt(length);
    }
    if (divisor != 1) {
      for (int64_t i = 0; i < columns_; ++i) out[i] /= divisor;
    }
    out += columns_;
  }
}

const float* EncoderHead::Run(const float* hidden, const EncoderRows& rows, std::byte* memory,
                              Runner& runner) const {
  MemoryDivider divider(memory);
  const int64_t sequences = rows.sequences();
  const int64_t pooled = columns_ * static_cast<int64_t>(pooling_.size());
  float* x = divider.Floats(sequences * pooled);
  const double bytes = static_cast<double>(rows.rows() * pooled) * sizeof(float);
  const bool done = runner.RunTiles(sequences, bytes / kBytesPerNs, [&](kernels::Tiles range) {
    for (int64_t i = range.begin; i < range.end; ++i) Pool(hidden, rows, i, x + i * pooled);
  });
  if (!done) return nullptr;
  int64_t columns = pooled;
  for (const Layer& layer : layers_) {
    LinearRows product;
    product.rows = sequences;
    product.x = x;
    product.x_stride = columns;
    columns = layer.linear.n();
    x = divider.Floats(sequences * columns);
    product.y = x;
    product.y_stride = columns;
    product.activation = layer.activation;
    if (!layer.linear.Run(runner, product, nullptr)) return nullptr;
    if (layer.norm_scale.empty()) continue;
    kernels::RowNormArgs norm;
    norm.rows = sequences;
    norm.columns = norm.x_stride = norm.y_stride = columns;
    norm.x = norm.y = x;
    norm.scale = layer.norm_scale.data();
    norm.bias = layer.norm_bias.empty() ? nullptr : layer.norm_bias.data();
    norm.epsilon = norm_epsilon_;
    if (!runner.Run(kernels::RowNormTiles, kernels::RowNorm, kernels::RowNormWork(norm), norm)) {
      return nullptr;
    }
  }
  return x;
}

}  // namespace sluice::lm
