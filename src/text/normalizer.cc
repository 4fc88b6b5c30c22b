#include "text/normalizer.h"

#include <algorithm>
#include <utility>

#include "base/function_ref.h"
#include "base/utf8.h"
#include "text/unicode/byte_alphabet.h"
#include "text/unicode/unicode.h"

namespace sluice::text {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581

// Rewrites `text` rune by rune; `rewrite` appends what takes the rune's place.
std::string Rewrite(std::string_view text,
                    base::FunctionRef<void(char32_t rune, std::string& out)> rewrite) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    i += static_cast<size_t>(rune.bytes);
    rewrite(rune.rune, out);
  }
  return out;
}

void CleanRune(char32_t rune, std::string& out) {
  const uint16_t classes = Classify(rune);
  const bool blank = rune == '\t' || rune == '\n' || rune == '\r';
  if (rune == 0 || rune == base::kReplacementRune || ((classes & kControl) != 0 && !blank)) return;
  base::AppendRune(blank || (classes & kSpace) != 0 ? U' ' : rune, out);
}

void SpaceRune(char32_t rune, std::string& out) {
  const bool chinese = (Classify(rune) & kChinese) != 0;
  if (chinese) out += ' ';
  base::AppendRune(rune, out);
  if (chinese) out += ' ';
}

// SentencePiece's nmt_nfkc rules, as the library has them.
void NmtRune(char32_t rune, std::string& out) {
  const bool dropped = (rune >= 0x1 && rune <= 0x8) || rune == 0xB ||
                       (rune >= 0xE && rune <= 0x1F) || rune == 0x7F || rune == 0x8F ||
                       rune == 0x9F;
  if (dropped) return;
  const bool blank = rune == 0x9 || rune == 0xA || rune == 0xC || rune == 0xD || rune == 0x1680 ||
                     (rune >= 0x200B && rune <= 0x200F) || rune == 0x2028 || rune == 0x2029 ||
                     rune == 0x2581 || rune == 0xFEFF || rune == 0xFFFD;
  base::AppendRune(blank ? U' ' : rune, out);
}

std::string Drop(std::string_view text, RuneClass dropped) {
  return Rewrite(text, [&](char32_t rune, std::string& out) {
    if ((Classify(rune) & dropped) == 0) base::AppendRune(rune, out);
  });
}

std::string Lowercase(std::string_view text) {
  return Rewrite(text, [](char32_t rune, std::string& out) { AppendLower(rune, out); });
}

std::string ApplyBert(const BertNormalizer& bert, std::string text) {
  if (bert.clean_text)
    text = Rewrite(text, [](char32_t r, std::string& out) { CleanRune(r, out); });
  if (bert.handle_chinese_chars)
    text = Rewrite(text, [](char32_t r, std::string& out) { SpaceRune(r, out); });
  if (bert.strip_accents) text = Drop(Normalize(NormalForm::kNfd, text), kNonspacing);
  if (bert.lowercase) text = Lowercase(text);
  return text;
}

bool IsSpaceAt(std::string_view text, size_t at) {
  return (Classify(base::DecodeRune(text, at).rune) & kSpace) != 0;
}

std::string_view Strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && IsSpaceAt(text, 0)) {
    text.remove_prefix(static_cast<size_t>(base::DecodeRune(text, 0).bytes));
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!IsSpaceAt(text, begin)) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

// SentencePiece's Normalizer::Normalize.
std::string ApplySentencePiece(const SentencePieceNormalizer& options, const Charsmap* charsmap,
                               const Stretch& stretch) {
  const std::string_view text = stretch.text;
  const bool removes = options.remove_extra_whitespaces;
  const std::string_view blank = options.escape_whitespaces ? kBlank : " ";
  std::string out;
  // What follows a token in the text is no beginning.
  bool after_blank = removes && stretch.at_start;
  bool started = !stretch.at_start;
  for (size_t at = 0; at < text.size();) {
    if (out.size() > Normalizer::kBytesMax) break;  // the caller refuses it
    Charsmap::Match match;
    if (charsmap != nullptr) match = charsmap->Longest(text.substr(at));
    if (match.bytes == 0) {
      match.bytes = static_cast<size_t>(base::DecodeRune(text, at).bytes);
      match.replacement = text.substr(at, match.bytes);
    }
    at += match.bytes;
    std::string_view part = match.replacement;
    if (!started && removes && part == " ") continue;
    if (!started && options.add_dummy_prefix) out += blank;
    started = true;
    while (after_blank && !part.empty() && part.front() == ' ') part.remove_prefix(1);
    for (const char c : part) c == ' ' ? out.append(blank) : out.append(1, c);
    if (!part.empty()) after_blank = part.back() == ' ';
    if (!removes) after_blank = false;
  }
  while (removes && out.size() >= blank.size() &&
         std::string_view(out).substr(out.size() - blank.size()) == blank) {
    out.resize(out.size() - blank.size());
  }
  return out;
}

// Whether a step's result begins with what took the place of the text's first character.
bool KeepsStart(const NormalizerStep& step, std::string_view text) {
  if (text.empty()) return true;
  const char32_t rune = base::DecodeRune(text, 0).rune;
  std::string out;
  switch (step.kind) {
    case NormalizerKind::kBert:
      if (step.bert.clean_text) {
        CleanRune(rune, out);
        return !out.empty();
      }
      return true;
    case NormalizerKind::kNmt:
      NmtRune(rune, out);
      return !out.empty();
    case NormalizerKind::kStripAccents:
      return (Classify(rune) & kMark) == 0;
    case NormalizerKind::kStrip:
      return !step.strip_left || (Classify(rune) & kSpace) == 0;
    default:
      return true;
  }
}

base::Result<std::string> ApplyStep(const NormalizerStep& step, const Stretch& stretch) {
  const std::string_view text = stretch.text;
  switch (step.kind) {
    case NormalizerKind::kBert:
      return ApplyBert(step.bert, std::string(text));
    case NormalizerKind::kNfc:
      return Normalize(NormalForm::kNfc, text);
    case NormalizerKind::kNfd:
      return Normalize(NormalForm::kNfd, text);
    case NormalizerKind::kNfkc:
      return Normalize(NormalForm::kNfkc, text);
    case NormalizerKind::kNfkd:
      return Normalize(NormalForm::kNfkd, text);
    case NormalizerKind::kLowercase:
      return Lowercase(text);
    case NormalizerKind::kStripAccents:
      return Drop(text, kMark);
    case NormalizerKind::kStrip:
      return std::string(Strip(text, step.strip_left, step.strip_right));
    case NormalizerKind::kReplace:
      return step.pattern->Replace(text, step.content, Normalizer::kBytesMax);
    case NormalizerKind::kPrepend:
      return text.empty() ? std::string() : step.content + std::string(text);
    case NormalizerKind::kCharsmap:
      return step.charsmap->Apply(text, Normalizer::kBytesMax);
    case NormalizerKind::kNmt:
      return Rewrite(text, [](char32_t rune, std::string& out) { NmtRune(rune, out); });
    case NormalizerKind::kByteLevel: {
      std::string out;
      AppendAsAlphabet(text, out);
      return out;
    }
    case NormalizerKind::kSentencePiece:
      return ApplySentencePiece(step.sentence_piece, step.charsmap.get(), stretch);
  }
  return std::string(text);
}

}  // namespace

base::Status Normalizer::Apply(Stretch& stretch, std::string& storage) const {
  for (const NormalizerStep& step : steps) {
    if (step.kind == NormalizerKind::kNfc && IsNfc(stretch.text)) continue;
    const bool keeps_start = KeepsStart(step, stretch.text);
    storage = TRY(ApplyStep(step, stretch));
    stretch.at_start = stretch.at_start && keeps_start;
    stretch.text = storage;
    if (storage.size() > kBytesMax) {
      return base::ResourceExhausted("a normalised text is longer than " +
                                     std::to_string(kBytesMax) + " bytes");
    }
  }
  return base::Ok();
}

base::Result<std::string> Normalizer::Apply(std::string_view text) const {
  Stretch stretch{text, true};
  std::string storage;
  TRY(Apply(stretch, storage));
  return std::string(stretch.text);
}

}  // namespace sluice::text
