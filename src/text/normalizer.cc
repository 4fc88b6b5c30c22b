#include "text/normalizer.h"

#include "base/function_ref.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace sluice::text {
namespace {

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

std::string ApplyStep(const NormalizerStep& step, std::string text) {
  switch (step.kind) {
    case NormalizerKind::kBert:
      return ApplyBert(step.bert, std::move(text));
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
  }
  return text;
}

}  // namespace

std::string Normalizer::Apply(std::string_view text) const {
  std::string out(text);
  for (const NormalizerStep& step : steps) out = ApplyStep(step, std::move(out));
  return out;
}

}  // namespace sluice::text
