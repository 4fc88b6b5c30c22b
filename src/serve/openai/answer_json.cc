#include "serve/openai/answer_json.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

#include "base/json.h"
#include "serve/service.h"

namespace sluice::serve {
namespace {

// JSON has no infinity; clients know this value for it.
constexpr float kLeastLogprob = -9999;

int64_t SecondsSince1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void WriteLogprob(float logprob, base::JsonWriter& writer) {
  if (std::isnan(logprob)) {
    writer.Null();
  } else {
    writer.Float(std::max(logprob, kLeastLogprob) + 0.0F);  // no minus in front of a zero
  }
}

void WriteBytes(std::string_view text, base::JsonWriter& writer) {
  writer.Key("bytes").BeginArray();
  for (const char c : text) writer.Int(static_cast<unsigned char>(c));
  writer.EndArray();
}

void WriteChatLogprobs(const std::vector<SaidToken>& tokens, base::JsonWriter& writer) {
  writer.BeginObject().Key("content").BeginArray();
  for (const SaidToken& token : tokens) {
    writer.BeginObject().Key("token").String(token.text).Key("logprob");
    WriteLogprob(token.logprob, writer);
    WriteBytes(token.text, writer);
    writer.Key("top_logprobs").BeginArray();
    for (const auto& [text, logprob] : token.alternatives) {
      writer.BeginObject().Key("token").String(text).Key("logprob");
      WriteLogprob(logprob, writer);
      WriteBytes(text, writer);
      writer.EndObject();
    }
    writer.EndArray().EndObject();
  }
  writer.EndArray().Key("refusal").Null().EndObject();
}

// {"text": logprob}: the alternatives, and the token itself where it is none of them. Of texts that
// are the same only the first has a place.
void WriteAlternatives(const SaidToken& token, base::JsonWriter& writer) {
  if (std::isnan(token.logprob)) {
    writer.Null();
    return;
  }
  writer.BeginObject();
  std::vector<std::string_view> written;
  const auto write = [&](std::string_view text, float logprob) {
    if (std::find(written.begin(), written.end(), text) != written.end()) return;
    written.push_back(text);
    writer.Key(text);
    WriteLogprob(logprob, writer);
  };
  for (const auto& [text, logprob] : token.alternatives) write(text, logprob);
  write(token.text, token.logprob);
  writer.EndObject();
}

void WriteTextLogprobs(const ChoiceText& choice, base::JsonWriter& writer) {
  const std::vector<SaidToken>& tokens = *choice.tokens;
  writer.BeginObject().Key("text_offset").BeginArray();
  int64_t characters = choice.characters;
  for (const SaidToken& token : tokens) {
    writer.Int(characters);
    characters += CountCharacters(token.text);
  }
  writer.EndArray().Key("token_logprobs").BeginArray();
  for (const SaidToken& token : tokens) WriteLogprob(token.logprob, writer);
  writer.EndArray().Key("tokens").BeginArray();
  for (const SaidToken& token : tokens) writer.String(token.text);
  writer.EndArray().Key("top_logprobs").BeginArray();
  for (const SaidToken& token : tokens) WriteAlternatives(token, writer);
  writer.EndArray().EndObject();
}

// The members behind a choice's text.
void WriteRest(CompletionKind kind, const ChoiceText& choice, base::JsonWriter& writer) {
  writer.Key("logprobs");
  if (choice.tokens == nullptr) {
    writer.Null();
  } else if (kind == CompletionKind::kChat) {
    WriteChatLogprobs(*choice.tokens, writer);
  } else {
    WriteTextLogprobs(choice, writer);
  }
  writer.Key("finish_reason");
  if (choice.finish_reason.empty()) {
    writer.Null();
  } else {
    writer.String(choice.finish_reason);
  }
}

void WriteUsage(const Usage& usage, base::JsonWriter& writer) {
  writer.BeginObject().Key("prompt_tokens").Int(usage.prompt_tokens);
  writer.Key("completion_tokens").Int(usage.completion_tokens);
  writer.Key("total_tokens").Int(usage.prompt_tokens + usage.completion_tokens);
  writer.Key("prompt_tokens_details").BeginObject().Key("cached_tokens");
  writer.Int(usage.cached_tokens).EndObject().EndObject();
}

}  // namespace

AnswerNames NameAnswer(CompletionKind kind, const std::string& model, std::string_view version) {
  static std::atomic<uint64_t> last{0};
  AnswerNames names;
  names.kind = kind;
  names.model = model;
  names.created = SecondsSince1970();
  names.id = (kind == CompletionKind::kChat ? "chatcmpl-" : "cmpl-") +
             std::to_string(names.created) + "-" + std::to_string(++last);
  names.fingerprint.append(kServerName).append("-").append(kServerVersion);
  names.fingerprint.append("-v").append(version);
  return names;
}

int64_t CountCharacters(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string WriteAnswer(const AnswerNames& names, std::span<const ChoiceText> choices,
                        const Usage& usage) {
  const bool chat = names.kind == CompletionKind::kChat;
  std::string json;
  base::JsonWriter writer(json);
  writer.BeginObject().Key("id").String(names.id);
  writer.Key("object").String(chat ? "chat.completion" : "text_completion");
  writer.Key("created").Int(names.created).Key("model").String(names.model);
  writer.Key("choices").BeginArray();
  for (const ChoiceText& choice : choices) {
    writer.BeginObject().Key("index").Int(choice.index);
    if (chat) {
      writer.Key("message").BeginObject().Key("role").String("assistant");
      writer.Key("content").String(choice.text).Key("refusal").Null().EndObject();
    } else {
      writer.Key("text").String(choice.text);
    }
    WriteRest(names.kind, choice, writer);
    writer.EndObject();
  }
  writer.EndArray().Key("usage");
  WriteUsage(usage, writer);
  writer.Key("service_tier").Null().Key("system_fingerprint").String(names.fingerprint);
  writer.EndObject();
  return json;
}

EventWriter::EventWriter(const AnswerNames& names, bool tells_usage)
    : kind_(names.kind), tells_usage_(tells_usage), begin_("data: ") {
  base::JsonWriter writer(begin_);
  writer.BeginObject().Key("id").String(names.id).Key("object");
  writer.String(kind_ == CompletionKind::kChat ? "chat.completion.chunk" : "text_completion");
  writer.Key("created").Int(names.created).Key("model").String(names.model);
  writer.Key("system_fingerprint").String(names.fingerprint);
  begin_ += ",\"choices\":[";
}

void EventWriter::Append(const ChoiceText& choice, const Usage* usage, std::string& out) const {
  out += begin_;
  base::JsonWriter writer(out);
  writer.BeginObject().Key("index").Int(choice.index);
  if (kind_ == CompletionKind::kChat) {
    writer.Key("delta").BeginObject();
    if (choice.first) writer.Key("role").String("assistant");
    if (choice.first || !choice.text.empty()) writer.Key("content").String(choice.text);
    writer.EndObject();
  } else {
    writer.Key("text").String(choice.text);
  }
  WriteRest(kind_, choice, writer);
  writer.EndObject();
  out += ']';
  if (usage != nullptr || tells_usage_) {
    out += ",\"usage\":";
    base::JsonWriter value(out);
    if (usage == nullptr) {
      value.Null();
    } else {
      WriteUsage(*usage, value);
    }
  }
  out += "}\n\n";
}

void EventWriter::AppendUsage(const Usage& usage, std::string& out) const {
  out += begin_;
  out += "],\"usage\":";
  base::JsonWriter writer(out);
  WriteUsage(usage, writer);
  out += "}\n\n";
}

void EventWriter::AppendFault(std::string_view json, std::string& out) {
  out.append("data: ").append(json).append("\n\n");
}

void EventWriter::AppendDone(std::string& out) {
  out += "data: [DONE]\n\n";
}

}  // namespace sluice::serve
