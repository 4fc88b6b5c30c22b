#include "lm/task/scoring.h"

#include <algorithm>
#include <limits>

#include "lm/task/named_prompt.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

struct Inputs {
  PromptInputs prompt;
  const tensor::NamedTensor* items = nullptr;
  const tensor::NamedTensor* item_ids = nullptr;
  const tensor::NamedTensor* item_lengths = nullptr;
  const tensor::NamedTensor* labels = nullptr;
  const tensor::NamedTensor* label_ids = nullptr;
};

base::Result<Inputs> FindInputs(const engine::Request& request, bool has_text) {
  Inputs inputs;
  for (const tensor::NamedTensor& input : request.inputs) {
    if (inputs.prompt.Take(input, has_text)) continue;
    const auto is = [&](const char* name) { return input.name == name; };
    const tensor::NamedTensor** const place = is(kItems) && has_text        ? &inputs.items
                                              : is(kItemIds)                ? &inputs.item_ids
                                              : is(kItemLengths)            ? &inputs.item_lengths
                                              : is(kLabelTexts) && has_text ? &inputs.labels
                                              : is(kLabelIds)               ? &inputs.label_ids
                                                                            : nullptr;
    if (place == nullptr) {
      return base::InvalidArgument("input " + input.name +
                                   " is none of this model's for the task score");
    }
    *place = &input;
  }
  return inputs;
}

// `prompt` stands before each text.
base::Status ReadTextLists(const tensor::NamedTensor& input, const ScoringModel& model,
                           bool add_fixed_tokens, std::string_view prompt, TokenLists& out) {
  std::string whole;
  for (std::string_view text : TRY(ReadTexts(input, model.limits.items_max))) {
    if (!prompt.empty()) text = whole.assign(prompt).append(text);
    out.Add(TRY(model.text->Encode(text, model.limits.length_max, add_fixed_tokens)));
    if (static_cast<int64_t>(out.tokens.size()) > model.limits.tokens_max) {
      return base::InvalidArgument("input " + input.name + ": expected at most " +
                                   std::to_string(model.limits.tokens_max) + " tokens in all");
    }
  }
  return base::Ok();
}

base::Result<std::string> ReadModelsPrompt(const char* parameter, const ScoringModel& model,
                                           ParameterReader& reader) {
  static const SentenceModules kNone;
  return ReadNamedPrompt(parameter, model.modules == nullptr ? kNone : *model.modules, reader);
}

base::Status ReadItems(const Inputs& inputs, const ScoringModel& model, bool behind_prefix,
                       std::string_view prompt, TokenLists& out) {
  if ((inputs.items == nullptr) == (inputs.item_ids == nullptr)) {
    return base::InvalidArgument("expected one of the inputs items and item_ids");
  }
  if (inputs.items != nullptr) {
    return ReadTextLists(*inputs.items, model, !behind_prefix, prompt, out);
  }
  const TokenListInputs lists = {inputs.item_ids, inputs.item_lengths, kItemLengths};
  const TokenLists items =
      TRY(ReadTokenLists(lists, model.limits.vocabulary, model.limits.items_max));
  for (size_t i = 0; i < items.size(); ++i) out.Add(items[i]);
  return base::Ok();
}

base::Status CheckLengths(const TokenLists& lists, size_t prefix, size_t least,
                          const ScoringLimits& limits) {
  for (size_t i = 0; i < lists.size(); ++i) {
    const size_t length = prefix + lists[i].size();
    if (lists[i].empty() || length < least || static_cast<int64_t>(length) > limits.length_max) {
      return base::InvalidArgument(
          "item " + std::to_string(i) + ": expected " + std::to_string(least) + " to " +
          std::to_string(limits.length_max) + " tokens with what stands before it, got " +
          std::to_string(lists[i].empty() ? 0 : length));
    }
  }
  return base::Ok();
}

base::Status ReadLabels(const Inputs& inputs, const ScoringModel& model, ParameterReader& reader,
                        Scoring& out) {
  if (inputs.labels == nullptr && inputs.label_ids == nullptr) return base::Ok();
  if (inputs.labels != nullptr && inputs.label_ids != nullptr) {
    return base::InvalidArgument("expected one of the inputs labels and label_ids, got both");
  }
  if (model.classes > 0) {
    return base::InvalidArgument("labels: the model is a classifier and has its own");
  }
  out.kind = Scoring::Kind::kLabels;
  if (inputs.label_ids != nullptr) {
    out.labels = TRY(ReadIds(*inputs.label_ids, model.limits.vocabulary));
  } else {
    for (const std::string_view label : TRY(ReadTexts(*inputs.labels, model.limits.labels_max))) {
      const std::vector<int32_t> ids = TRY(model.text->Encode(label, 64, false));
      if (ids.size() != 1) {
        return base::InvalidArgument("input labels: expected texts of one token each, got \"" +
                                     std::string(label) + "\" of " + std::to_string(ids.size()));
      }
      out.labels.push_back(ids[0]);
    }
  }
  if (out.labels.empty() || static_cast<int64_t>(out.labels.size()) > model.limits.labels_max) {
    return base::InvalidArgument("input label_ids: expected 1 to " +
                                 std::to_string(model.limits.labels_max) + " labels, got " +
                                 std::to_string(out.labels.size()));
  }
  std::string over = "vocabulary";
  TRY(reader.Text("over", 64, over));
  if (over != "vocabulary" && over != "labels") {
    return base::InvalidArgument("parameter over: expected vocabulary or labels, got \"" + over +
                                 "\"");
  }
  out.over_labels = over == "labels";
  if (out.over_labels) {
    out.label_columns = ColumnPlaces(out.labels);
    out.activation = ScoreActivation::kSoftmax;
  }
  return base::Ok();
}

base::Status ReadRanking(ParameterReader& reader, size_t items, int64_t labels, Ranking& out) {
  TRY(reader.Integer("top_k", 0, std::numeric_limits<int32_t>::max(), out.top_k));
  out.top_k = std::min(out.top_k, static_cast<int64_t>(items));
  return reader.Integer("by_label", 0, labels - 1, out.by_label);
}

base::Result<std::vector<int32_t>> ReadPrefix(const Inputs& inputs, const ScoringModel& model,
                                              ParameterReader& reader) {
  // Room for an item of one token.
  return ReadPrompt(inputs.prompt, {model.limits.vocabulary, model.limits.length_max - 1},
                    model.text, reader);
}

}  // namespace

base::Status ReadScoreActivation(ParameterReader& reader, ScoreActivation otherwise,
                                 ScoreActivation& out) {
  std::string name = "auto";
  TRY(reader.Text("activation", 256, name));
  if (name == "auto") {
    out = otherwise;
  } else if (name == "none") {
    out = ScoreActivation::kNone;
  } else if (name == "sigmoid") {
    out = ScoreActivation::kSigmoid;
  } else if (name == "softmax") {
    out = ScoreActivation::kSoftmax;
  } else {
    return base::InvalidArgument(
        "parameter activation: expected auto, none, sigmoid or softmax, got \"" + name + "\"");
  }
  return base::Ok();
}

base::Status ReadScoring(const engine::Request& request, const ScoringModel& model, Scoring& out) {
  const Inputs inputs = TRY(FindInputs(request, model.text != nullptr));
  ParameterReader reader(request.parameters);
  if (model.classes > 0) out.kind = Scoring::Kind::kClasses;
  TRY(ReadLabels(inputs, model, reader, out));
  out.prompt = TRY(ReadPrefix(inputs, model, reader));
  TRY(ReadItems(inputs, model, inputs.prompt.count() > 0, "", out.items));
  // The first token of all has no probability.
  const size_t least = out.kind == Scoring::Kind::kLikelihood ? 2 : 1;
  TRY(CheckLengths(out.items, out.prompt.size(), least, model.limits));
  int64_t columns = 1;
  if (out.kind == Scoring::Kind::kClasses) {
    columns = model.classes;
    const ScoreActivation own =
        columns == 1 ? ScoreActivation::kSigmoid : ScoreActivation::kSoftmax;
    TRY(ReadScoreActivation(reader, own, out.activation));
  } else if (out.kind == Scoring::Kind::kLabels) {
    columns = static_cast<int64_t>(out.labels.size());
  } else {
    TRY(reader.Bool("token_logprobs", out.token_logprobs));
    if (!out.prompt.empty()) {
      out.first_tokens.reserve(out.items.size());
      for (size_t i = 0; i < out.items.size(); ++i) out.first_tokens.push_back(out.items[i][0]);
    }
  }
  if (out.relevance) columns = 1;
  TRY(ReadRanking(reader, out.items.size(), columns, out.ranking));
  return reader.Text("cache_salt", 256, out.cache_salt);
}

base::Status ReadEmbedding(const engine::Request& request, const ScoringModel& model,
                           Embedding& out) {
  const tensor::NamedTensor *text = nullptr, *ids = nullptr, *lengths = nullptr;
  for (const tensor::NamedTensor& input : request.inputs) {
    const tensor::NamedTensor** const place = input.name == kText && model.text != nullptr ? &text
                                              : input.name == kInputIds                    ? &ids
                                              : input.name == kLengths ? &lengths
                                                                       : nullptr;
    if (place == nullptr) {
      return base::InvalidArgument("input " + input.name +
                                   " is none of this model's for the task embed");
    }
    *place = &input;
  }
  if ((text == nullptr) == (ids == nullptr)) {
    return base::InvalidArgument(model.text == nullptr
                                     ? "expected the input input_ids"
                                     : "expected one of the inputs text and input_ids");
  }
  ParameterReader reader(request.parameters);
  bool add_special_tokens = true;
  TRY(reader.Bool("add_special_tokens", add_special_tokens));
  const std::string prompt = TRY(ReadModelsPrompt("prompt_name", model, reader));
  if (text != nullptr) {
    TRY(ReadTextLists(*text, model, add_special_tokens, prompt, out.texts));
  } else {
    out.texts = TRY(
        ReadTokenLists({ids, lengths, kLengths}, model.limits.vocabulary, model.limits.items_max));
  }
  TRY(CheckLengths(out.texts, 0, 1, model.limits));
  out.pooling = model.pooling;
  out.dimensions = model.hidden;
  TRY(reader.Integer("dimensions", 1, model.hidden, out.dimensions));
  out.normalize = model.normalize;
  TRY(reader.Bool("normalize", out.normalize));
  return reader.Text("cache_salt", 256, out.cache_salt);
}

base::Status ReadComparison(const engine::Request& request, const ScoringModel& model,
                            Embedding& out) {
  const Inputs inputs = TRY(FindInputs(request, model.text != nullptr));
  ParameterReader reader(request.parameters);
  if (inputs.labels != nullptr || inputs.label_ids != nullptr) {
    return base::InvalidArgument("labels: the model gives embeddings, no tokens");
  }
  const std::string prompt = TRY(ReadModelsPrompt("prompt_name", model, reader));
  const std::string item_prompt = TRY(ReadModelsPrompt("item_prompt_name", model, reader));
  if (inputs.prompt.text != nullptr && !prompt.empty()) {
    bool add_special_tokens = true;
    TRY(reader.Bool("add_special_tokens", add_special_tokens));
    TRY(ReadTextLists(*inputs.prompt.text, model, add_special_tokens, prompt, out.texts));
  } else {
    out.texts.Add(TRY(ReadPrefix(inputs, model, reader)));
  }
  if (out.texts.size() != 1 || out.texts[0].empty()) {
    return base::InvalidArgument("expected what the items are compared with: text or input_ids");
  }
  TRY(ReadItems(inputs, model, false, item_prompt, out.texts));
  TRY(CheckLengths(out.texts, 0, 1, model.limits));
  out.pooling = model.pooling;
  out.dimensions = model.hidden;
  TRY(reader.Integer("dimensions", 1, model.hidden, out.dimensions));
  out.normalize = true;
  out.compares = true;
  TRY(ReadRanking(reader, out.texts.size() - 1, 1, out.ranking));
  return reader.Text("cache_salt", 256, out.cache_salt);
}

}  // namespace sluice::lm
