#include "text/token_offsets.h"

#include <algorithm>
#include <string>

#include "text/stream_decoder.h"

namespace sluice::text {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool Spells(std::string_view text, std::string_view token) {
  return text.size() >= token.size() &&
         std::equal(token.begin(), token.end(), text.begin(),
                    [](char a, char b) { return Lower(a) == Lower(b); });
}

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

std::optional<std::vector<TokenSpan>> FindTokenSpans(const Tokenizer& tokenizer,
                                                     std::string_view text,
                                                     std::span<const int32_t> ids) {
  std::vector<TokenSpan> spans;
  spans.reserve(ids.size());
  size_t at = 0;
  const auto add = [&](size_t begin, size_t end) {
    spans.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    at = end;
  };
  for (const int32_t id : ids) {
    const std::string written = BytesOfToken(tokenizer, id);
    if (Spells(text.substr(at), written)) {
      add(at, at + written.size());
      continue;
    }
    if (tokenizer.is_special(id)) {
      add(at, at);
      continue;
    }
    // Words without the blank in front of them, which the text may lack or have more of.
    std::string_view word = written;
    while (!word.empty() && word[0] == ' ') word.remove_prefix(1);
    size_t begin = at;
    while (begin < text.size() && IsBlank(text[begin])) ++begin;
    if (!Spells(text.substr(begin), word)) return std::nullopt;
    // A blank that was put in front of the text alone.
    if (word.empty()) begin = at;
    add(begin, begin + word.size());
  }
  // What no token spelled was an unknown word.
  const std::string_view rest = text.substr(at);
  if (!std::all_of(rest.begin(), rest.end(), IsBlank)) return std::nullopt;
  return spans;
}

}  // namespace sluice::text
