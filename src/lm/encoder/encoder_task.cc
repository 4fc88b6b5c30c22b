#include "lm/encoder/encoder_task.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "lm/generation.h"
#include "lm/request_fields.h"
#include "lm/task/named_prompt.h"
#include "lm/task/score_outputs.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

// Of one request; what it holds is copied once more into steps.
constexpr int64_t kTokensMax = int64_t{4} << 20;
constexpr int64_t kAnswerBytesMax = int64_t{1} << 30;
constexpr size_t kNameBytesMax = 256;

struct Inputs {
  const tensor::NamedTensor* ids = nullptr;
  const tensor::NamedTensor* lengths = nullptr;
  const tensor::NamedTensor* text = nullptr;
  const tensor::NamedTensor* items = nullptr;
  const tensor::NamedTensor* item_ids = nullptr;
  const tensor::NamedTensor* item_lengths = nullptr;
};

base::Result<Inputs> FindInputs(const engine::Request& request, bool has_text, bool scores) {
  Inputs inputs;
  for (const tensor::NamedTensor& input : request.inputs) {
    const auto is = [&](const char* name) { return input.name == name; };
    const tensor::NamedTensor** const place = is(kInputIds)                      ? &inputs.ids
                                              : is(kLengths) && !scores          ? &inputs.lengths
                                              : is(kText) && has_text            ? &inputs.text
                                              : is(kItems) && has_text && scores ? &inputs.items
                                              : is(kItemIds) && scores           ? &inputs.item_ids
                                              : is(kItemLengths) && scores ? &inputs.item_lengths
                                                                           : nullptr;
    if (place == nullptr) {
      return base::InvalidArgument("input " + input.name +
                                   " is none of this model's for the task " +
                                   (scores ? kTaskScore : kTaskEmbed));
    }
    *place = &input;
  }
  if (inputs.ids != nullptr && inputs.text != nullptr) {
    return base::InvalidArgument("expected one of the inputs input_ids and text, got both");
  }
  return inputs;
}

base::Result<TokenLists> ReadIdLists(const TokenListInputs& inputs, const EncoderModel& model) {
  return ReadTokenLists(inputs, model.encoder.config().vocabulary, kItemsMax);
}

// What is done with texts that are too long: they are refused, or cut in one of these ways, which
// are the tokenizer's where nothing is said.
struct Cutting {
  bool cuts = true;
  std::optional<text::TruncationStrategy> strategy;
  std::optional<text::TextSide> side;
};

// Adds sequences to a task.
class Adder {
 public:
  Adder(const EncoderModel& model, const Cutting& cutting, EncoderTask& out)
      : model_(model), cutting_(cutting), out_(out) {}

  base::Status AddText(std::string_view text) {
    const text::EncodeOptions options = OptionsFor(false);
    return AddEncoding(TRY(model_.text->tokenizer().Encode(text, options)));
  }
  base::Status AddPair(std::string_view first, std::string_view second) {
    const text::EncodeOptions options = OptionsFor(true);
    return AddEncoding(TRY(model_.text->tokenizer().EncodePair(first, second, options)));
  }
  // Ids as they are; those from `second` on are of the second text.
  base::Status AddIds(std::span<const int32_t> first, std::span<const int32_t> second = {}) {
    const size_t before = out_.tokens.size();
    out_.tokens.insert(out_.tokens.end(), first.begin(), first.end());
    out_.tokens.insert(out_.tokens.end(), second.begin(), second.end());
    if (has_types()) {
      out_.types.resize(before + first.size(), 0);
      out_.types.resize(out_.tokens.size(), 1);
    }
    return Close();
  }

 private:
  bool has_types() const { return model_.encoder.config().types > 1; }
  text::EncodeOptions OptionsFor(bool pair) const {
    text::EncodeOptions options;
    // One token more shows that a text is too long, and no more of it is read.
    const int64_t least = model_.text->tokenizer().fixed_tokens(pair);
    options.length_max = std::max(model_.length_max, least) + (cutting_.cuts ? 0 : 1);
    options.strategy = cutting_.strategy;
    options.cut_side = cutting_.side;
    return options;
  }
  base::Status AddEncoding(const text::Encoding& encoding) {
    out_.truncated = out_.truncated || (cutting_.cuts && encoding.truncated);
    out_.tokens.insert(out_.tokens.end(), encoding.ids.begin(), encoding.ids.end());
    if (has_types()) {
      for (const int32_t type : encoding.type_ids) {
        if (type >= model_.encoder.config().types) {
          return base::InvalidArgument("tokenizer.json gives the type " + std::to_string(type) +
                                       ", of which the model has no embedding");
        }
        out_.types.push_back(type);
      }
    }
    return Close();
  }
  base::Status Close() {
    const auto end = static_cast<int64_t>(out_.tokens.size());
    const int64_t length = end - out_.starts.back();
    if (length < 1 || length > model_.length_max) {
      return base::InvalidArgument("expected sequences of 1 to " +
                                   std::to_string(model_.length_max) + " tokens, got " +
                                   std::to_string(length) + (length < 1 ? "" : " or more") +
                                   " at " + std::to_string(out_.sequences()));
    }
    if (end > kTokensMax) {
      return base::InvalidArgument("expected at most " + std::to_string(kTokensMax) +
                                   " tokens in a request");
    }
    out_.starts.push_back(static_cast<int32_t>(end));
    out_.units += model_.UnitsOf(length);
    return base::Ok();
  }

  const EncoderModel& model_;
  const Cutting cutting_;
  EncoderTask& out_;
};

base::Result<Cutting> ReadCutting(ParameterReader& reader) {
  Cutting cutting;
  TRY(reader.Bool("truncate", cutting.cuts));
  std::string strategy, side;
  TRY(reader.Text("truncation_strategy", kNameBytesMax, strategy));
  TRY(reader.Text("truncation_side", kNameBytesMax, side));
  if (strategy == "longest_first") {
    cutting.strategy = text::TruncationStrategy::kLongestFirst;
  } else if (strategy == "only_first") {
    cutting.strategy = text::TruncationStrategy::kOnlyFirst;
  } else if (strategy == "only_second") {
    cutting.strategy = text::TruncationStrategy::kOnlySecond;
  } else if (!strategy.empty()) {
    return base::InvalidArgument(
        "parameter truncation_strategy: expected longest_first, only_first or only_second, got \"" +
        strategy + "\"");
  }
  if (side == "left" || side == "right") {
    cutting.side = side == "left" ? text::TextSide::kLeft : text::TextSide::kRight;
  } else if (!side.empty()) {
    return base::InvalidArgument("parameter truncation_side: expected left or right, got \"" +
                                 side + "\"");
  }
  return cutting;
}

base::Status ReadEmbed(const Inputs& inputs, const EncoderModel& model, ParameterReader& reader,
                       EncoderTask& out) {
  Adder adder(model, TRY(ReadCutting(reader)), out);
  if (inputs.text != nullptr) {
    const std::string prompt = TRY(ReadNamedPrompt("prompt_name", model.modules, reader));
    for (const std::string_view text : TRY(ReadTexts(*inputs.text, kItemsMax))) {
      TRY(prompt.empty() ? adder.AddText(text) : adder.AddText(prompt + std::string(text)));
    }
    return base::Ok();
  }
  if (inputs.ids == nullptr) {
    return base::InvalidArgument(model.text == nullptr
                                     ? "expected the input input_ids"
                                     : "expected one of the inputs text and input_ids");
  }
  const TokenLists lists = TRY(ReadIdLists({inputs.ids, inputs.lengths, kLengths}, model));
  for (size_t i = 0; i < lists.size(); ++i) TRY(adder.AddIds(lists[i]));
  return base::Ok();
}

base::Status ReadTextScore(const Inputs& inputs, const EncoderModel& model, ParameterReader& reader,
                           EncoderTask& out) {
  Adder adder(model, TRY(ReadCutting(reader)), out);
  std::string_view prefix;
  if (inputs.text != nullptr) prefix = TRY(ReadTexts(*inputs.text, 1))[0];
  const std::span<const std::string_view> items = TRY(ReadTexts(*inputs.items, kItemsMax));
  if (out.kind == EncoderTask::Kind::kClassify) {
    for (const std::string_view item : items) {
      TRY(inputs.text == nullptr ? adder.AddText(item) : adder.AddPair(prefix, item));
    }
    return base::Ok();
  }
  const std::string prompt = TRY(ReadNamedPrompt("prompt_name", model.modules, reader));
  const std::string item_prompt = TRY(ReadNamedPrompt("item_prompt_name", model.modules, reader));
  TRY(adder.AddText(prompt + std::string(prefix)));
  for (const std::string_view item : items) {
    TRY(item_prompt.empty() ? adder.AddText(item) : adder.AddText(item_prompt + std::string(item)));
  }
  return base::Ok();
}

base::Status ReadIdScore(const Inputs& inputs, const EncoderModel& model, EncoderTask& out) {
  std::vector<int32_t> prefix;
  if (inputs.ids != nullptr) {
    prefix = TRY(ReadIds(*inputs.ids, model.encoder.config().vocabulary));
  }
  const TokenLists lists =
      TRY(ReadIdLists({inputs.item_ids, inputs.item_lengths, kItemLengths}, model));
  Adder adder(model, {}, out);
  const bool pairs = out.kind == EncoderTask::Kind::kClassify;
  if (!pairs) TRY(adder.AddIds(prefix));
  for (size_t i = 0; i < lists.size(); ++i) {
    TRY(!pairs || prefix.empty() ? adder.AddIds(lists[i]) : adder.AddIds(prefix, lists[i]));
  }
  return base::Ok();
}

base::Status ReadScore(const Inputs& inputs, const EncoderModel& model, ParameterReader& reader,
                       EncoderTask& out) {
  const bool texts = inputs.items != nullptr;
  if (texts == (inputs.item_ids != nullptr)) {
    return base::InvalidArgument("expected one of the inputs items and item_ids");
  }
  if (texts ? inputs.ids != nullptr : inputs.text != nullptr) {
    return base::InvalidArgument(
        "expected text with items, or input_ids with item_ids, got one of each");
  }
  const bool has_prefix = inputs.text != nullptr || inputs.ids != nullptr;
  if (out.kind == EncoderTask::Kind::kCosine && !has_prefix) {
    return base::InvalidArgument("expected what the items are compared with: text or input_ids");
  }
  TRY(texts ? ReadTextScore(inputs, model, reader, out) : ReadIdScore(inputs, model, out));
  const int64_t items = out.sequences() - (out.kind == EncoderTask::Kind::kCosine ? 1 : 0);
  TRY(reader.Integer("top_k", 0, kItemsMax, out.ranking.top_k));
  out.ranking.top_k = std::min(out.ranking.top_k, items);
  const auto labels = static_cast<int64_t>(std::max<size_t>(1, model.labels().size()));
  return reader.Integer("by_label", 0, labels - 1, out.ranking.by_label);
}

// Kind of the task, and whether it scores.
base::Result<EncoderTask::Kind> ReadKind(const EncoderModel& model, ParameterReader& reader) {
  const std::vector<std::string>& tasks = model.description.tasks;
  std::string task = tasks[0];
  TRY(reader.Text(kTask, kNameBytesMax, task));
  if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) {
    std::string known;
    for (const std::string& own : tasks) known += (known.empty() ? "" : ", ") + own;
    return base::InvalidArgument("parameter task: model " + model.description.model +
                                 " does not do \"" + task + "\"; expected " + known);
  }
  if (model.is_classifier()) return EncoderTask::Kind::kClassify;
  return task == kTaskEmbed ? EncoderTask::Kind::kEmbed : EncoderTask::Kind::kCosine;
}

}  // namespace

void EncoderTask::SetVector(int64_t sequence, const float* vector) {
  const int64_t columns = vectors.shape[1];
  const std::span<float> own(vectors.mutable_view().as<float>() + sequence * columns,
                             static_cast<size_t>(columns));
  std::copy(vector, vector + columns, own.begin());
  if (kind == Kind::kClassify) {
    ActivateScores(activation, own);
  } else if (normalize) {
    NormalizeVector(own);
  }
}

void EncoderTask::Complete() {
  complete = true;
  if (kind != Kind::kCosine) return;
  const int64_t columns = vectors.shape[1];
  const float* const all = vectors.view().as<float>();
  float* const out = scores.mutable_view().as<float>();
  for (int64_t i = 1; i < sequences(); ++i) {
    const float* const own = all + i * columns;
    double sum = 0;
    for (int64_t j = 0; j < columns; ++j) {
      sum += static_cast<double>(all[j]) * static_cast<double>(own[j]);
    }
    out[i - 1] = static_cast<float>(sum);
  }
}

std::vector<tensor::NamedTensor> EncoderTask::TakeOutputs() {
  std::vector<tensor::NamedTensor> outputs;
  if (kind == Kind::kEmbed) {
    outputs.push_back({kEmbedding, std::move(vectors)});
    return outputs;
  }
  AppendScores(std::move(kind == Kind::kCosine ? scores : vectors), ranking, outputs);
  return outputs;
}

base::Status ReadEncoderTask(const engine::Request& request, const EncoderModel& model,
                             EncoderTask& out) {
  ParameterReader reader(request.parameters);
  out.kind = TRY(ReadKind(model, reader));
  const bool scores = out.kind != EncoderTask::Kind::kEmbed;
  const Inputs inputs = TRY(FindInputs(request, model.text != nullptr, scores));
  int64_t columns = model.head.width();
  out.normalize = out.kind == EncoderTask::Kind::kCosine || model.modules.normalize;
  if (out.kind == EncoderTask::Kind::kClassify) {
    TRY(ReadScoreActivation(reader, model.score_activation, out.activation));
  } else {
    TRY(reader.Integer("dimensions", 1, columns, columns));
    if (!scores) TRY(reader.Bool("normalize", out.normalize));
  }
  TRY(scores ? ReadScore(inputs, model, reader, out) : ReadEmbed(inputs, model, reader, out));
  out.vectors =
      TRY(Tensor::Allocate(DType::kF32, Shape({out.sequences(), columns}), kAnswerBytesMax));
  if (out.kind == EncoderTask::Kind::kCosine) {
    out.scores =
        TRY(Tensor::Allocate(DType::kF32, Shape({out.sequences() - 1, 1}), kAnswerBytesMax));
  }
  return base::Ok();
}

}  // namespace sluice::lm
