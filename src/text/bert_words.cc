#include "text/bert_words.h"

#include <string>

#include "base/utf8.h"
#include "text/unicode/unicode.h"

namespace sluice::text {
namespace {

// Collects the runes of a word as the fast path finds them and hands the word to the model. Runes
// above the model's limit are counted and not kept: such a word is unknown whatever it says.
class WordCollector {
 public:
  WordCollector(const WordPiece& model, std::vector<int32_t>& ids) : model_(model), ids_(ids) {}

  void AddAscii(char c) {
    if (++runes_ <= model_.word_runes_max()) word_ += c;
  }
  void Add(char32_t rune) {
    if (++runes_ <= model_.word_runes_max()) base::AppendRune(rune, word_);
  }
  void Finish() {
    if (runes_ == 0) return;
    if (runes_ > model_.word_runes_max()) {
      ids_.push_back(model_.unknown_id());
    } else {
      model_.AppendShort(word_, ids_);
    }
    word_.clear();
    runes_ = 0;
  }

 private:
  const WordPiece& model_;
  std::vector<int32_t>& ids_;
  std::string word_;
  int64_t runes_ = 0;
};

// Puts one normalised rune where BertPreTokenizer would.
void Place(char32_t rune, WordCollector& word) {
  const uint16_t classes = Classify(rune);
  if ((classes & kSpace) != 0) {
    word.Finish();
  } else if ((classes & kPunctuation) != 0) {
    word.Finish();
    word.Add(rune);
    word.Finish();
  } else {
    word.Add(rune);
  }
}

void PlaceLower(char32_t rune, bool lowercase, WordCollector& word) {
  if (!lowercase) {
    Place(rune, word);
  } else if (rune == 0x130) {
    Place(U'i', word);
    Place(0x307, word);
  } else {
    Place(Lower(rune), word);
  }
}

// Whether canonical ordering could move the rune and it is not dropped afterwards: then a
// rune-by-rune path is wrong.
bool NeedsOrdering(uint16_t classes) {
  return (classes & kCombines) != 0 && (classes & kNonspacing) == 0;
}

// BertNormalizer and BertPreTokenizer for one rune above ASCII; false when the text needs canonical
// ordering.
bool PlaceRune(const BertNormalizer& bert, char32_t rune, WordCollector& word) {
  const uint16_t classes = Classify(rune);
  if (bert.clean_text) {
    if (rune == base::kReplacementRune || (classes & kControl) != 0) return true;
    if ((classes & kSpace) != 0) {
      word.Finish();
      return true;
    }
  }
  const bool alone = bert.handle_chinese_chars && (classes & kChinese) != 0;
  if (alone) word.Finish();
  if (!bert.strip_accents) {
    PlaceLower(rune, bert.lowercase, word);
  } else if ((classes & kDecomposes) == 0) {
    if (NeedsOrdering(classes)) return false;
    if ((classes & kNonspacing) == 0) PlaceLower(rune, bert.lowercase, word);
  } else {
    const Decomposition parts = Decompose(rune);
    for (int i = 0; i < parts.count; ++i) {
      const char32_t part = parts.runes[static_cast<size_t>(i)];
      const uint16_t part_classes = Classify(part);
      if (NeedsOrdering(part_classes)) return false;
      if ((part_classes & kNonspacing) == 0) PlaceLower(part, bert.lowercase, word);
    }
  }
  if (alone) word.Finish();
  return true;
}

}  // namespace

BertWords::BertWords(const BertNormalizer& bert, const WordPiece& model)
    : bert_(bert), model_(&model) {
  for (char32_t rune = 0; rune < 128; ++rune) {
    const uint16_t classes = Classify(rune);
    const bool blank = rune == '\t' || rune == '\n' || rune == '\r';
    AsciiRole role = AsciiRole::kWordPart;
    if (bert_.clean_text && (classes & kControl) != 0 && !blank) {
      role = AsciiRole::kDropped;
    } else if ((classes & kSpace) != 0) {
      role = AsciiRole::kSpace;
    } else if ((classes & kPunctuation) != 0) {
      role = AsciiRole::kAlone;
    }
    ascii_roles_[rune] = role;
    ascii_lower_[rune] = static_cast<char>(bert_.lowercase ? Lower(rune) : rune);
  }
}

bool BertWords::Append(std::string_view text, size_t count_max, std::vector<int32_t>& ids) const {
  WordCollector word(*model_, ids);
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      const base::Rune rune = base::DecodeRune(text, i);
      if (!PlaceRune(bert_, rune.rune, word)) return false;
      i += static_cast<size_t>(rune.bytes);
      continue;
    }
    ++i;
    switch (ascii_roles_[byte]) {
      case AsciiRole::kDropped:
        break;
      case AsciiRole::kWordPart:
        word.AddAscii(ascii_lower_[byte]);
        break;
      case AsciiRole::kSpace:
        word.Finish();
        if (ids.size() >= count_max) return true;
        break;
      case AsciiRole::kAlone:
        word.Finish();
        word.AddAscii(ascii_lower_[byte]);
        word.Finish();
        if (ids.size() >= count_max) return true;
        break;
    }
  }
  word.Finish();
  return true;
}

}  // namespace sluice::text
