#include "lm/task/text_task.h"

#include <span>
#include <utility>
#include <vector>

#include "lm/generation.h"
#include "lm/request_fields.h"
#include "lm/task/prompt.h"
#include "lm/task/scored_tokens.h"
#include "text/token_offsets.h"

namespace sluice::lm {
namespace {

using tensor::DType;

base::Result<PromptInputs> FindPrompt(const engine::Request& request) {
  PromptInputs inputs;
  for (const tensor::NamedTensor& input : request.inputs) {
    if (!inputs.Take(input, true)) {
      return base::InvalidArgument("input " + input.name + " is not of this task");
    }
  }
  return inputs;
}

tensor::NamedTensor SpecialTokens(const text::Tokenizer& tokenizer, std::span<const int32_t> ids) {
  tensor::Tensor tensor;
  tensor.dtype = DType::kBool;
  tensor.shape = tensor::Shape({static_cast<int64_t>(ids.size())});
  tensor.buffer = tensor::Buffer::Allocate(static_cast<int64_t>(ids.size()) + 1);
  bool* special = tensor.mutable_view().as<bool>();
  for (const int32_t id : ids) *special++ = tokenizer.is_special(id);
  return {kSpecialTokens, std::move(tensor)};
}

base::Result<engine::Reply> Tokenize(const engine::Request& request, const TextTaskModel& model) {
  const PromptInputs inputs = TRY(FindPrompt(request));
  if (inputs.text == nullptr && inputs.messages == nullptr) {
    return base::InvalidArgument("expected one of the inputs text and messages");
  }
  ParameterReader reader(request.parameters);
  bool texts = false;
  TRY(reader.Bool("token_texts", texts));
  const std::vector<int32_t> ids =
      TRY(ReadPrompt(inputs, {model.vocabulary, kToldTokensMax}, model.text, reader));
  engine::Reply reply;
  reply.outputs.push_back({kOutputIds, CopiedTensor<int32_t>(DType::kI32, ids)});
  const auto count = static_cast<int64_t>(ids.size());
  if (texts) {
    const text::Tokenizer& tokenizer = model.text->tokenizer();
    std::vector<std::string> written;
    written.reserve(ids.size());
    for (const int32_t id : ids) written.push_back(model.text->TokenBytes(id));
    reply.outputs.push_back(
        {kTokenTexts, tensor::Tensor::FromStrings(tensor::Shape({count}), written)});
    reply.outputs.push_back(SpecialTokens(tokenizer, ids));
    if (inputs.text != nullptr) {
      const auto spans = text::FindTokenSpans(tokenizer, TRY(ReadText(*inputs.text)), ids);
      std::vector<int32_t> offsets;
      for (size_t i = 0; spans.has_value() && i < spans->size(); ++i) {
        offsets.push_back((*spans)[i].begin);
        offsets.push_back((*spans)[i].end);
      }
      if (spans.has_value()) {
        reply.outputs.push_back({kOffsets, CopiedTensor<int32_t>(DType::kI32, offsets, 2)});
      }
    }
  }
  reply.parameters.emplace_back("prompt_tokens", count);
  reply.parameters.emplace_back("max_model_len", model.length_max);
  return reply;
}

base::Result<engine::Reply> Detokenize(const engine::Request& request, const TextTaskModel& model) {
  const PromptInputs inputs = TRY(FindPrompt(request));
  if (inputs.ids == nullptr || inputs.count() != 1) {
    return base::InvalidArgument("expected the input input_ids");
  }
  const std::vector<int32_t> ids = TRY(ReadIds(*inputs.ids, model.vocabulary));
  if (static_cast<int64_t>(ids.size()) > kToldTokensMax) {
    return base::InvalidArgument("input input_ids: expected at most " +
                                 std::to_string(kToldTokensMax) + " tokens, got " +
                                 std::to_string(ids.size()));
  }
  ParameterReader reader(request.parameters);
  bool skip_special = false;
  TRY(reader.Bool("skip_special_tokens", skip_special));
  const std::string text = TRY(model.text->tokenizer().Decode(ids, skip_special));
  engine::Reply reply;
  reply.outputs.push_back({kText, tensor::Tensor::FromStrings(tensor::Shape({1}), {text})});
  reply.parameters.emplace_back("prompt_tokens", static_cast<int64_t>(ids.size()));
  return reply;
}

}  // namespace

base::Result<std::optional<engine::Reply>> AnswerTextTask(const engine::Request& request,
                                                          const TextTaskModel& model) {
  constexpr size_t kTaskBytesMax = 64;
  std::string task;
  TRY(ParameterReader(request.parameters).Text("task", kTaskBytesMax, task));
  const bool tokenizes = task == kTaskTokenize;
  if (!tokenizes && task != kTaskDetokenize) return std::optional<engine::Reply>();
  if (model.text == nullptr) {
    return base::InvalidArgument("parameter task: model " + model.name + " does not " + task +
                                 ": it has no tokenizer.json");
  }
  return std::optional<engine::Reply>(tokenizes ? TRY(Tokenize(request, model))
                                                : TRY(Detokenize(request, model)));
}

void DescribeTextTasks(engine::Description& description) {
  for (const char* task : {kTaskTokenize, kTaskDetokenize}) description.tasks.emplace_back(task);
  description.outputs.push_back({kOffsets, DType::kI32, {-1, 2}, true});
  description.outputs.push_back({kSpecialTokens, DType::kBool, {-1}, true});
}

}  // namespace sluice::lm
