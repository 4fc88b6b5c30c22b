#include "text/decoder.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "text/unicode/byte_alphabet.h"

namespace sluice::text {
namespace {

using Tokens = std::vector<std::string>;

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  while (!from.empty()) {
    const size_t found = text.find(from, done);
    if (found == std::string_view::npos) break;
    out.append(text.substr(done, found - done)).append(to);
    done = found + from.size();
  }
  return out.append(text.substr(done));
}

void DecodeByteLevel(Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    const std::optional<std::string> written = BytesOfAlphabet(token);
    bytes += written ? *written : token;
  }
  tokens.assign(1, base::ReplaceInvalidUtf8(bytes));
}

void DecodeByteFallback(Tokens& tokens) {
  Tokens out;
  std::string run;
  const auto flush = [&] {
    if (run.empty()) return;
    if (base::IsValidUtf8(run)) {
      out.push_back(run);
    } else {
      for (size_t i = 0; i < run.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
    }
    run.clear();
  };
  for (std::string& token : tokens) {
    if (const std::optional<char> byte = ByteOfToken(token)) {
      run += *byte;
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(out);
}

void Fuse(Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

void Strip(const DecoderStep& step, std::string& token) {
  const std::string_view character = step.text;
  std::string_view rest = token;
  for (size_t i = 0; i < step.start && rest.substr(0, character.size()) == character; ++i) {
    rest.remove_prefix(character.size());
  }
  for (size_t i = 0; i < step.stop && rest.size() >= character.size() &&
                     rest.substr(rest.size() - character.size()) == character;
       ++i) {
    rest.remove_suffix(character.size());
  }
  token = std::string(rest);
}

void DecodeCtc(const DecoderStep& step, std::string& token) {
  token = ReplaceAll(token, step.text, "");
  if (step.cleanup) token = ReplaceAll(CleanUp(std::move(token)), step.content, " ");
}

void DecodeWordPiece(const DecoderStep& step, bool first, std::string& token) {
  if (!first && token.compare(0, step.text.size(), step.text) == 0) {
    token.erase(0, step.text.size());
  } else if (!first) {
    token.insert(token.begin(), ' ');
  }
  if (step.cleanup) token = CleanUp(std::move(token));
}

void DecodeSuffix(const DecoderStep& step, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = ReplaceAll(tokens[i], step.text, i + 1 < tokens.size() ? " " : "");
  }
}

}  // namespace

std::optional<char> ByteOfToken(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return std::nullopt;
    }
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

std::string CleanUp(std::string text) {
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) text = ReplaceAll(text, from, to);
  return text;
}

base::Status DecodeToken(const DecoderStep& step, bool first, std::string& token) {
  switch (step.kind) {
    case DecoderKind::kMetaspace:
      token = ReplaceAll(token, step.text, first && step.drops_first ? "" : " ");
      break;
    case DecoderKind::kStrip:
      Strip(step, token);
      break;
    case DecoderKind::kReplace:
      token = TRY(step.pattern->Replace(token, step.content, Decoder::kBytesMax));
      break;
    case DecoderKind::kWordPiece:
      DecodeWordPiece(step, first, token);
      break;
    case DecoderKind::kCtc:
      DecodeCtc(step, token);
      break;
    default:
      break;
  }
  return base::Ok();
}

base::Result<std::string> Decoder::Decode(Tokens tokens) const {
  std::string text;
  if (joins_with_blanks) {
    for (size_t i = 0; i < tokens.size(); ++i) text.append(i > 0 ? " " : "").append(tokens[i]);
    return text;
  }
  if (tokens.empty()) return text;
  for (const DecoderStep& step : steps) {
    switch (step.kind) {
      case DecoderKind::kByteLevel:
        DecodeByteLevel(tokens);
        break;
      case DecoderKind::kByteFallback:
        DecodeByteFallback(tokens);
        break;
      case DecoderKind::kFuse:
        Fuse(tokens);
        break;
      case DecoderKind::kCtc:
        tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
        [[fallthrough]];
      case DecoderKind::kMetaspace:
      case DecoderKind::kStrip:
      case DecoderKind::kReplace:
      case DecoderKind::kWordPiece:
        for (size_t i = 0; i < tokens.size(); ++i) TRY(DecodeToken(step, i == 0, tokens[i]));
        break;
      case DecoderKind::kSuffix:
        DecodeSuffix(step, tokens);
        break;
    }
  }
  for (const std::string& token : tokens) {
    text += token;
    if (text.size() > kBytesMax) {
      return base::ResourceExhausted("a decoded text is longer than " + std::to_string(kBytesMax) +
                                     " bytes");
    }
  }
  return base::IsValidUtf8(text) ? text : base::ReplaceInvalidUtf8(text);
}

}  // namespace sluice::text
