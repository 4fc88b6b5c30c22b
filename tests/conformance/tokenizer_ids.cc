// Reads cases, one JSON object a line, and prints what the tokenizer makes of each: for
// tokenizer_test.py and tokenizer_models_test.py.
//
// usage: tokenizer_ids FILE < cases
// FILE is a tokenizer.json, a SentencePiece .model or Qwen's .tiktoken.
// A case is {"text": …, "pair": … or absent, "max": tokens or 0, "fixed": add fixed tokens, "pad":
// length or 0}, an answer
// {"ids": […], "type_ids": […], "mask": […], "truncated": …} or {"error": …}. A case {"decode":
// ids, "skip": leave out special tokens} has the answer {"text": …, "stream": …}, the second
// decoded id by id (null where that cannot be).
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "text/format/rank_family.h"
#include "text/format/vocabulary_files.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace {

using sluice::base::JsonDocument;
using sluice::base::JsonValue;
using sluice::base::JsonWriter;
using sluice::base::Result;
using sluice::text::EncodeOptions;
using sluice::text::Encoding;
using sluice::text::StreamDecoder;
using sluice::text::Tokenizer;

Result<Encoding> EncodeCase(const Tokenizer& tokenizer, JsonDocument& document,
                            const std::string& line) {
  const JsonValue root = TRY(document.Parse(line));
  const JsonValue text_value = TRY(root.Get("text"));
  const std::string_view text = TRY(text_value.AsString());
  const auto pair = TRY(root.Find("pair"));
  const auto length_max = TRY(root.Find("max"));
  const auto fixed = TRY(root.Find("fixed"));
  const auto pad = TRY(root.Find("pad"));
  EncodeOptions options;
  if (length_max) options.length_max = TRY(length_max->AsInt());
  if (fixed) options.add_fixed_tokens = TRY(fixed->AsBool());
  Encoding encoding;
  if (pair) {
    const std::string_view second = TRY(pair->AsString());
    encoding = TRY(tokenizer.EncodePair(text, second, options));
  } else {
    encoding = TRY(tokenizer.Encode(text, options));
  }
  if (pad) tokenizer.Pad(TRY(pad->AsInt()), encoding);
  return encoding;
}

Result<std::string> DecodeCase(const std::shared_ptr<const Tokenizer>& tokenizer, JsonValue list,
                               bool skip) {
  std::vector<int32_t> ids(static_cast<size_t>(list.size()));
  TRY(list.ReadNumbers(std::span<int32_t>(ids)));
  const std::string text = TRY(tokenizer->Decode(ids, skip));
  std::string out;
  JsonWriter writer(out);
  writer.BeginObject().Key("text").String(text).Key("stream");
  auto decoder = StreamDecoder::Create(tokenizer, skip);
  if (decoder.ok()) {
    std::string streamed;
    for (const int32_t id : ids) TRY(decoder->Append(id, streamed));
    decoder->Finish(streamed);
    writer.String(streamed);
  } else {
    writer.Null();
  }
  writer.EndObject();
  return out;
}

void Answer(const Result<Encoding>& encoding, std::string& out) {
  JsonWriter writer(out);
  writer.BeginObject();
  if (encoding.ok()) {
    writer.Key("ids").Numbers(std::span<const int32_t>(encoding->ids));
    writer.Key("type_ids").Numbers(std::span<const int32_t>(encoding->type_ids));
    writer.Key("mask").Numbers(std::span<const int32_t>(encoding->attention_mask));
    writer.Key("truncated").Bool(encoding->truncated);
  } else {
    writer.Key("error").String(encoding.error().message);
  }
  writer.EndObject();
  out += '\n';
}

Result<std::shared_ptr<const Tokenizer>> Load(const std::string& path) {
  const auto ends_with = [&](std::string_view suffix) {
    return path.size() >= suffix.size() &&
           path.compare(path.size() - suffix.size(), suffix.size(), suffix) == 0;
  };
  if (ends_with(".json")) return Tokenizer::Load(path);
  const std::string file = TRY(sluice::base::ReadFile(path, Tokenizer::kFileBytesMax));
  if (ends_with(".model")) return sluice::text::ReadSentencePiece(file);
  // Ranks: the file's name says whose.
  const size_t begin = path.rfind('/') + 1;
  const auto* family = sluice::text::FindRankFamily(path.substr(begin, path.rfind('.') - begin));
  if (family == nullptr) return sluice::base::InvalidArgument(path + ": no family's name");
  sluice::text::RankOptions options;
  options.scanner = family->scanner;
  options.nfc = family->nfc;
  options.special_tokens = sluice::text::SpecialTokensOf(*family, sluice::text::CountRanks(file));
  options.begin_text = family->begin_text;
  return sluice::text::ReadRanks(file, options);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_ids FILE < cases\n";
    return 2;
  }
  const auto tokenizer = Load(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.error().message << "\n";
    return 1;
  }
  std::ios::sync_with_stdio(false);
  JsonDocument document;
  std::string line;
  std::string out;
  while (std::getline(std::cin, line)) {
    const auto root = document.Parse(line);
    const auto ids = root.ok() ? root->Find("decode") : root.error();
    if (ids.ok() && ids->has_value()) {
      const auto skip = root->Find("skip").value();
      const auto answer = DecodeCase(*tokenizer, **ids, skip && skip->AsBool().value());
      out.append(answer.ok() ? *answer : "{}").append("\n");
    } else {
      Answer(EncodeCase(**tokenizer, document, line), out);
    }
    if (out.size() > (1 << 20)) {
      std::cout << out;
      out.clear();
    }
  }
  std::cout << out;
  return 0;
}
