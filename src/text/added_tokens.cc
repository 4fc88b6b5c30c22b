#include "text/added_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/unicode/unicode.h"

namespace sluice::text {
namespace {

// Where the rune that ends at `end` begins; end > 0.
size_t RuneBefore(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

bool WordEndsAt(std::string_view text, size_t end) {
  return end > 0 && (Classify(base::DecodeRune(text, RuneBefore(text, end)).rune) & kWord) != 0;
}

bool WordStartsAt(std::string_view text, size_t begin) {
  return begin < text.size() && (Classify(base::DecodeRune(text, begin).rune) & kWord) != 0;
}

// Where the white space before `end` begins, not before `least`.
size_t SkipSpaceBefore(std::string_view text, size_t end, size_t least) {
  while (end > least) {
    const size_t begin = RuneBefore(text, end);
    if ((Classify(base::DecodeRune(text, begin).rune) & kSpace) == 0) break;
    end = begin;
  }
  return std::max(end, least);
}

size_t SkipSpaceBehind(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const base::Rune rune = base::DecodeRune(text, begin);
    if ((Classify(rune.rune) & kSpace) == 0) break;
    begin += static_cast<size_t>(rune.bytes);
  }
  return begin;
}

}  // namespace

base::Status AddedTokenMatcher::Add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) {
    return base::InvalidArgument("added token '" + token.content + "' is empty when normalised");
  }
  if (pattern.size() > kContentBytesMax) {
    return base::InvalidArgument("an added token of " + std::to_string(pattern.size()) +
                                 " bytes is longer than the limit of " +
                                 std::to_string(kContentBytesMax));
  }
  bytes_ += pattern.size();
  if (tokens_.size() >= kTokensMax || bytes_ > TokenTrie::kBytesMax) {
    return base::InvalidArgument("more than " + std::to_string(kTokensMax) + " added tokens");
  }
  trie_.Add(pattern, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(token);
  first_[static_cast<unsigned char>(pattern.front())] = true;
  return base::Ok();
}

void AddedTokenMatcher::Split(std::string_view text, bool find_special,
                              std::vector<AddedSegment>& segments) const {
  size_t done = 0;  // everything before is in a segment
  size_t i = 0;
  while (!tokens_.empty()) {
    while (i < text.size() && !first_[static_cast<unsigned char>(text[i])]) ++i;
    if (i >= text.size()) break;
    const TokenTrie::Match match = trie_.Longest(TokenTrie::root(), text.substr(i));
    if (match.id == TokenTrie::kNone) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.id)];
    size_t begin = i;
    size_t end = i + match.bytes;
    i = end;  // the search goes on behind the token, also when it is no single word
    if (token.special && !find_special) continue;
    if (token.single_word && (WordEndsAt(text, begin) || WordStartsAt(text, end))) continue;
    if (token.lstrip) begin = SkipSpaceBefore(text, begin, std::min(done, begin));
    if (token.rstrip) end = SkipSpaceBehind(text, end);
    if (done < begin) segments.push_back({TokenTrie::kNone, text.substr(done, begin - done)});
    segments.push_back({token.id, {}});
    done = end;
    // White space taken by this token cannot start another.
    i = std::max(i, done);
  }
  if (done < text.size()) segments.push_back({TokenTrie::kNone, text.substr(done)});
}

}  // namespace sluice::text
