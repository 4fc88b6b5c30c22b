// The bodies of requests for completions and chats. The first byte chooses which.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "serve/http/message.h"
#include "serve/json_fields.h"
#include "serve/openai/completion_request.h"
#include "serve/oip/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  if (size < 1) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t bytes = text.size();
  text.append(static_cast<size_t>(serve::kBodyPadding), '\0');
  serve::RequestLimits limits;
  limits.tensor_bytes_max = 16 << 20;
  const auto kind = data[0] % 2 == 0 ? serve::CompletionKind::kText : serve::CompletionKind::kChat;
  const auto parsed =
      serve::ParseCompletion(std::string_view(text).substr(0, bytes), kind, limits);
  if (!parsed.ok()) {
    CHECK(!parsed.error().message.empty());
    return 0;
  }
  const auto prompts = static_cast<int64_t>(parsed->prompts.size());
  CHECK(prompts >= 1 && prompts * parsed->n <= serve::kPromptsTimesChoicesMax);
  CHECK(parsed->unknown.size() <= serve::kUnknownMax);
  CHECK(!parsed->echo || parsed->echoed.size() == parsed->prompts.size());
  base::JsonDocument document;
  for (const serve::InferRequest& prompt : parsed->prompts) {
    for (const tensor::NamedTensor& input : prompt.request->inputs) {
      // What was accepted is whole: every byte of it can be read.
      std::string raw;
      serve::AppendRaw(input.tensor, raw);
      CHECK_EQ(static_cast<int64_t>(raw.size()), serve::RawBytes(input.tensor));
      if (input.name != "messages" && input.name != "tools") continue;
      CHECK(document.Parse(input.tensor.view().as<std::string_view>()[0]).ok());
    }
  }
  return 0;
}
