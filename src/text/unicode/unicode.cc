#include "text/unicode/unicode.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace sluice::text {
namespace {

constexpr char32_t kPlaneRunes = 0x10000;
// Unicode versions of the library's tables.
constexpr int kCategoryVersion = 8;
constexpr int kMarkVersion = 9;  // and of combining classes and scripts
constexpr int kDecompositionVersion = 11;
constexpr int kExpansionMax = 18;  // of NFKD: U+FDFA

struct RuneRange {
  char32_t first;
  char32_t last;
};

// Word characters of Unicode 15.1 and 16, which ICU 72 does not know.
constexpr RuneRange kNewWordRunes[] = {
    {0x897, 0x897},     {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},
    {0x105C0, 0x105F3}, {0x10D40, 0x10D65}, {0x10D69, 0x10D6D}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113C0}, {0x113C2, 0x113C2},
    {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3}, {0x113E1, 0x113E2},
    {0x116D0, 0x116E3}, {0x11BC0, 0x11BE0}, {0x11BF0, 0x11BF9}, {0x11F5A, 0x11F5A},
    {0x13460, 0x143FA}, {0x16100, 0x16139}, {0x16D40, 0x16D6C}, {0x16D70, 0x16D79},
    {0x18CFF, 0x18CFF}, {0x1CCF0, 0x1CCF9}, {0x1E5D0, 0x1E5FA}, {0x2EBF0, 0x2EE5D},
};

// Lower-case mappings of Unicode 16 and 17: first and last upper-case letter, and what the first
// maps to.
struct CaseRange {
  char32_t first;
  char32_t last;
  char32_t lower;
};
constexpr CaseRange kNewCases[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264}, {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x019B}, {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

// BERT's ranges, with 2B920 as the library has it (the block starts at 2B820).
constexpr RuneRange kChineseRanges[] = {
    {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
    {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
};

template <size_t N>
bool IsIn(const RuneRange (&ranges)[N], char32_t rune) {
  return std::any_of(std::begin(ranges), std::end(ranges), [&](const RuneRange& range) {
    return rune >= range.first && rune <= range.last;
  });
}

// Whether the character was assigned by the Unicode version `major`.0.
bool IsAssignedBy(char32_t rune, int major) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(rune), age);
  if (age[0] == 0) return false;
  return age[0] < major || (age[0] == major && age[1] == 0);
}

// The general category mask as Unicode 8.0 had it: characters that changed since are listed.
uint32_t CategoryMask(char32_t rune) {
  switch (rune) {
    case 0x1734:
      return U_GC_MN_MASK;
    case 0xA9BD:
      return U_GC_MC_MASK;
    case 0x1CF2:
    case 0x1CF3:
      return U_GC_MC_MASK;
    case 0x1885:
    case 0x1886:
      return U_GC_LO_MASK;
    case 0x166D:
    case 0x111C9:
      return U_GC_PO_MASK;
    default:
      break;
  }
  const uint32_t mask = U_GET_GC_MASK(static_cast<UChar32>(rune));
  if ((mask & U_GC_CO_MASK) != 0) return mask;  // private use has no age
  return IsAssignedBy(rune, kCategoryVersion) ? mask : U_GC_CN_MASK;
}

// Category M* as Unicode 9.0 had it, for StripAccents.
bool IsMark(char32_t rune) {
  if (rune == 0x1CF2 || rune == 0x1CF3) return true;
  return rune != 0x111C9 && (U_GET_GC_MASK(static_cast<UChar32>(rune)) & U_GC_M_MASK) != 0 &&
         IsAssignedBy(rune, kMarkVersion);
}

uint8_t CombiningClass(char32_t rune) {
  const uint8_t value = u_getCombiningClass(static_cast<UChar32>(rune));
  return value != 0 && IsAssignedBy(rune, kMarkVersion) ? value : 0;
}

const UNormalizer2* Canonical() {
  UErrorCode error = U_ZERO_ERROR;
  static const UNormalizer2* const instance = unorm2_getNFCInstance(&error);
  CHECK(instance != nullptr);
  return instance;
}
const UNormalizer2* Compatible() {
  UErrorCode error = U_ZERO_ERROR;
  static const UNormalizer2* const instance = unorm2_getNFKCInstance(&error);
  CHECK(instance != nullptr);
  return instance;
}

// Calls put(char32_t) for the full decomposition of `rune`, or for the rune itself.
template <class Put>
bool DecomposeWith(const UNormalizer2* normalizer, char32_t rune, Put&& put) {
  if (rune < 0x80) {
    put(rune);
    return false;
  }
  std::array<UChar, kExpansionMax * 2> units;
  UErrorCode error = U_ZERO_ERROR;
  const int32_t length = unorm2_getDecomposition(normalizer, static_cast<UChar32>(rune),
                                                 units.data(), units.size(), &error);
  if (length < 0 || U_FAILURE(error) || !IsAssignedBy(rune, kDecompositionVersion)) {
    put(rune);
    return false;
  }
  for (int32_t i = 0; i < length;) {
    UChar32 part = 0;
    U16_NEXT(units.data(), i, length, part);
    put(static_cast<char32_t>(part));
  }
  return true;
}

uint16_t ComputeClasses(char32_t rune) {
  const auto c = static_cast<UChar32>(rune);
  const uint32_t mask = CategoryMask(rune);
  uint16_t classes = 0;
  const auto set = [&](bool condition, RuneClass bit) {
    if (condition) classes = static_cast<uint16_t>(classes | bit);
  };
  set((mask & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0, kControl);
  set((mask & U_GC_P_MASK) != 0 || (rune < 0x80 && (mask & U_GC_S_MASK) != 0), kPunctuation);
  set(u_isUWhiteSpace(c), kSpace);
  set((mask & U_GC_MN_MASK) != 0, kNonspacing);
  set(IsMark(rune), kMark);
  const uint32_t category_now = U_GET_GC_MASK(c);
  set(u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
          (category_now & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
          IsIn(kNewWordRunes, rune),
      kWord);
  set(IsIn(kChineseRanges, rune), kChinese);
  set(CombiningClass(rune) != 0, kCombines);
  set(DecomposeWith(Canonical(), rune, [](char32_t) {}), kDecomposes);
  set(u_getIntPropertyValue(c, UCHAR_NFC_QUICK_CHECK) == UNORM_YES && u_getCombiningClass(c) == 0,
      kNfcInert);
  return classes;
}

char32_t ComputeLower(char32_t rune) {
  const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(rune)));
  if (lower != rune) return lower;
  for (const CaseRange& range : kNewCases) {
    if (rune >= range.first && rune <= range.last) return range.lower + (rune - range.first);
  }
  return rune;
}

// The basic plane, computed once: some milliseconds, 384 KiB.
struct PlaneTable {
  PlaneTable() {
    for (char32_t rune = 0; rune < kPlaneRunes; ++rune) {
      classes[rune] = ComputeClasses(rune);
      lower[rune] = ComputeLower(rune);
    }
  }
  std::array<uint16_t, kPlaneRunes> classes;
  std::array<char32_t, kPlaneRunes> lower;
};
const PlaneTable& Plane() {
  static const std::unique_ptr<const PlaneTable> table = std::make_unique<PlaneTable>();
  return *table;
}

struct OrderedRune {
  char32_t rune;
  uint8_t combining;
};

// Decomposes and puts each run of combining characters in the canonical order.
std::vector<OrderedRune> DecomposeText(const UNormalizer2* normalizer, std::string_view text) {
  std::vector<OrderedRune> runes;
  runes.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    i += static_cast<size_t>(rune.bytes);
    DecomposeWith(normalizer, rune.rune, [&](char32_t part) {
      runes.push_back({part, part < 0x300 ? uint8_t{0} : CombiningClass(part)});
    });
  }
  const auto starts = [](const OrderedRune& rune) { return rune.combining == 0; };
  for (auto at = runes.begin(); at != runes.end();) {
    at = std::find_if_not(at, runes.end(), starts);
    const auto end = std::find_if(at, runes.end(), starts);
    std::stable_sort(at, end, [](const OrderedRune& a, const OrderedRune& b) {
      return a.combining < b.combining;
    });
    at = end;
  }
  return runes;
}

// Canonical composition in place (Unicode 15, section 3.11, D117): a character is composed with the
// last starter unless one of its own class, or a starter, stands between them.
void Compose(std::vector<OrderedRune>& runes) {
  size_t kept = 0;
  size_t starter = SIZE_MAX;
  for (size_t i = 0; i < runes.size(); ++i) {
    const OrderedRune now = runes[i];
    if (starter != SIZE_MAX) {
      const bool adjacent = kept == starter + 1;
      const uint8_t between = adjacent ? 0 : runes[kept - 1].combining;
      const bool blocked = !adjacent && (between == 0 || between >= now.combining);
      if (!blocked) {
        const UChar32 composed = unorm2_composePair(
            Canonical(), static_cast<UChar32>(runes[starter].rune), static_cast<UChar32>(now.rune));
        if (composed >= 0 && IsAssignedBy(static_cast<char32_t>(composed), kDecompositionVersion)) {
          runes[starter].rune = static_cast<char32_t>(composed);
          continue;
        }
      }
    }
    if (now.combining == 0) starter = kept;
    runes[kept++] = now;
  }
  runes.resize(kept);
}

}  // namespace

uint16_t Classify(char32_t rune) {
  return rune < kPlaneRunes ? Plane().classes[rune] : ComputeClasses(rune);
}

char32_t Lower(char32_t rune) {
  return rune < kPlaneRunes ? Plane().lower[rune] : ComputeLower(rune);
}

void AppendLower(char32_t rune, std::string& out) {
  if (rune == 0x130) {
    out += "i\xCC\x87";  // i and a combining dot above
    return;
  }
  base::AppendRune(Lower(rune), out);
}

Decomposition Decompose(char32_t rune) {
  Decomposition result;
  DecomposeWith(Canonical(), rune, [&](char32_t part) {
    CHECK_LT(result.count, kDecompositionMax);
    result.runes[static_cast<size_t>(result.count++)] = part;
  });
  return result;
}

int Script(char32_t rune) {
  switch (rune) {
    case ' ':
      return kAnyScript;
    case 0x30FC:
      return USCRIPT_HAN;
    case 0x589:  // these four had other scripts in Unicode 9.0
    case 0x61C:
      return USCRIPT_COMMON;
    case 0x953:
    case 0x954:
      return USCRIPT_DEVANAGARI;
    default:
      break;
  }
  UErrorCode error = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(static_cast<UChar32>(rune), &error);
  if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) return USCRIPT_HAN;
  const bool known = script != USCRIPT_UNKNOWN && IsAssignedBy(rune, kMarkVersion);
  return known ? script : kAnyScript;
}

bool IsNfc(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const base::Rune rune = base::DecodeRune(text, i);
    if ((Classify(rune.rune) & kNfcInert) == 0) return false;
    i += static_cast<size_t>(rune.bytes);
  }
  return true;
}

std::string Normalize(NormalForm form, std::string_view text) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  std::vector<OrderedRune> runes = DecomposeText(compatible ? Compatible() : Canonical(), text);
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) Compose(runes);
  std::string out;
  out.reserve(text.size());
  for (const OrderedRune& rune : runes) base::AppendRune(rune.rune, out);
  return out;
}

}  // namespace sluice::text
