#include "text/unicode/grapheme.h"

#include <unicode/uchar.h>

#include "base/utf8.h"
#include "text/unicode/scan_class.h"

namespace sluice::text {
namespace {

using Break = UGraphemeClusterBreak;

Break BreakOf(char32_t rune) {
  const auto c = static_cast<UChar32>(rune);
  // Marks that are newer than ICU's tables.
  if (u_charType(c) == U_UNASSIGNED && (ScanClassOf(rune) & kScanMark) != 0) return U_GCB_EXTEND;
  return static_cast<Break>(u_getIntPropertyValue(c, UCHAR_GRAPHEME_CLUSTER_BREAK));
}

bool IsPictograph(char32_t rune) {
  return u_hasBinaryProperty(static_cast<UChar32>(rune), UCHAR_EXTENDED_PICTOGRAPHIC);
}

// Rules GB3 to GB9b for two neighbours; the rules that look further back are the caller's.
bool Joins(Break left, Break right) {
  if (left == U_GCB_CR) return right == U_GCB_LF;
  if (left == U_GCB_LF || left == U_GCB_CONTROL) return false;
  switch (right) {
    case U_GCB_EXTEND:
    case U_GCB_ZWJ:
    case U_GCB_SPACING_MARK:
      return true;
    case U_GCB_L:
    case U_GCB_LV:
    case U_GCB_LVT:
      return left == U_GCB_L || left == U_GCB_PREPEND;
    case U_GCB_V:
      return left == U_GCB_L || left == U_GCB_LV || left == U_GCB_V || left == U_GCB_PREPEND;
    case U_GCB_T:
      return left == U_GCB_LV || left == U_GCB_V || left == U_GCB_LVT || left == U_GCB_T ||
             left == U_GCB_PREPEND;
    case U_GCB_CR:
    case U_GCB_LF:
    case U_GCB_CONTROL:
      return false;
    default:
      return left == U_GCB_PREPEND;
  }
}

}  // namespace

size_t GraphemeEnd(std::string_view text, size_t at) {
  const auto byte_at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  // Two ASCII characters are joined only as CR and LF.
  if (byte_at(at) < 0x80 && (at + 1 == text.size() || byte_at(at + 1) < 0x80)) {
    return text.substr(at, 2) == "\r\n" ? at + 2 : at + 1;
  }
  base::Rune rune = base::DecodeRune(text, at);
  Break left = BreakOf(rune.rune);
  bool pictograph = IsPictograph(rune.rune);  // of an emoji sequence, before its extenders
  bool odd_indicators = left == U_GCB_REGIONAL_INDICATOR;
  size_t end = at + static_cast<size_t>(rune.bytes);
  while (end < text.size()) {
    rune = base::DecodeRune(text, end);
    const Break right = BreakOf(rune.rune);
    bool joins = Joins(left, right);
    if (!joins && left == U_GCB_ZWJ && pictograph) joins = IsPictograph(rune.rune);
    if (!joins && right == U_GCB_REGIONAL_INDICATOR && left == U_GCB_REGIONAL_INDICATOR) {
      joins = odd_indicators;
    }
    if (!joins) break;
    if (right == U_GCB_REGIONAL_INDICATOR) {
      odd_indicators = !odd_indicators || left != U_GCB_REGIONAL_INDICATOR;
    }
    if (right != U_GCB_EXTEND && right != U_GCB_ZWJ) pictograph = IsPictograph(rune.rune);
    left = right;
    end += static_cast<size_t>(rune.bytes);
  }
  return end;
}

}  // namespace sluice::text
