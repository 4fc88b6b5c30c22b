#include "text/unicode/scan_class.h"

#include <unicode/uchar.h>

#include <memory>

namespace sluice::text {
namespace {

// What Unicode 16 added to ICU 72's Unicode 15.
struct AddedRange {
  char32_t first;
  char32_t last;
  int classes;
};
constexpr AddedRange kAdded[] = {
    {0x897, 0x897, kScanMark},
    {0x1B4E, 0x1B4F, kScanPunctuation},
    {0x1B7F, 0x1B7F, kScanPunctuation},
    {0x1C89, 0x1C89, kScanLetter | kScanUpper},
    {0x1C8A, 0x1C8A, kScanLetter | kScanLower},
    {0x2427, 0x2429, kScanSymbol},
    {0x2FFC, 0x2FFF, kScanSymbol},
    {0x31E4, 0x31E5, kScanSymbol},
    {0x31EF, 0x31EF, kScanSymbol},
    {0xA7CB, 0xA7CC, kScanLetter | kScanUpper},
    {0xA7CD, 0xA7CD, kScanLetter | kScanLower},
    {0xA7DA, 0xA7DA, kScanLetter | kScanUpper},
    {0xA7DB, 0xA7DB, kScanLetter | kScanLower},
    {0xA7DC, 0xA7DC, kScanLetter | kScanUpper},
    {0x105C0, 0x105F3, kScanLetter},
    {0x10D40, 0x10D49, kScanNumber},
    {0x10D4A, 0x10D4F, kScanLetter},
    {0x10D50, 0x10D65, kScanLetter | kScanUpper},
    {0x10D69, 0x10D6D, kScanMark},
    {0x10D6E, 0x10D6E, kScanPunctuation},
    {0x10D6F, 0x10D6F, kScanLetter},
    {0x10D70, 0x10D85, kScanLetter | kScanLower},
    {0x10D8E, 0x10D8F, kScanSymbol},
    {0x10EC2, 0x10EC4, kScanLetter},
    {0x10EFC, 0x10EFC, kScanMark},
    {0x11380, 0x11389, kScanLetter},
    {0x1138B, 0x1138B, kScanLetter},
    {0x1138E, 0x1138E, kScanLetter},
    {0x11390, 0x113B5, kScanLetter},
    {0x113B7, 0x113B7, kScanLetter},
    {0x113B8, 0x113C0, kScanMark},
    {0x113C2, 0x113C2, kScanMark},
    {0x113C5, 0x113C5, kScanMark},
    {0x113C7, 0x113CA, kScanMark},
    {0x113CC, 0x113D0, kScanMark},
    {0x113D1, 0x113D1, kScanLetter},
    {0x113D2, 0x113D2, kScanMark},
    {0x113D3, 0x113D3, kScanLetter},
    {0x113D4, 0x113D5, kScanPunctuation},
    {0x113D7, 0x113D8, kScanPunctuation},
    {0x113E1, 0x113E2, kScanMark},
    {0x116D0, 0x116E3, kScanNumber},
    {0x11BC0, 0x11BE0, kScanLetter},
    {0x11BE1, 0x11BE1, kScanPunctuation},
    {0x11BF0, 0x11BF9, kScanNumber},
    {0x11F5A, 0x11F5A, kScanMark},
    {0x13460, 0x143FA, kScanLetter},
    {0x16100, 0x1611D, kScanLetter},
    {0x1611E, 0x1612F, kScanMark},
    {0x16130, 0x16139, kScanNumber},
    {0x16D40, 0x16D6C, kScanLetter},
    {0x16D6D, 0x16D6F, kScanPunctuation},
    {0x16D70, 0x16D79, kScanNumber},
    {0x18CFF, 0x18CFF, kScanLetter},
    {0x1CC00, 0x1CCEF, kScanSymbol},
    {0x1CCF0, 0x1CCF9, kScanNumber},
    {0x1CD00, 0x1CEB3, kScanSymbol},
    {0x1E5D0, 0x1E5ED, kScanLetter},
    {0x1E5EE, 0x1E5EF, kScanMark},
    {0x1E5F0, 0x1E5F0, kScanLetter},
    {0x1E5F1, 0x1E5FA, kScanNumber},
    {0x1E5FF, 0x1E5FF, kScanPunctuation},
    {0x1F8B2, 0x1F8BB, kScanSymbol},
    {0x1F8C0, 0x1F8C1, kScanSymbol},
    {0x1FA89, 0x1FA89, kScanSymbol},
    {0x1FA8F, 0x1FA8F, kScanSymbol},
    {0x1FABE, 0x1FABE, kScanSymbol},
    {0x1FAC6, 0x1FAC6, kScanSymbol},
    {0x1FADC, 0x1FADC, kScanSymbol},
    {0x1FADF, 0x1FADF, kScanSymbol},
    {0x1FAE9, 0x1FAE9, kScanSymbol},
    {0x1FBCB, 0x1FBEF, kScanSymbol},
    {0x2EBF0, 0x2EE5D, kScanLetter},
};

uint8_t Compute(char32_t rune) {
  const auto c = static_cast<UChar32>(rune);
  const uint32_t mask = U_GET_GC_MASK(c);
  int classes = 0;
  if ((mask & U_GC_L_MASK) != 0) classes |= kScanLetter;
  if ((mask & U_GC_N_MASK) != 0) classes |= kScanNumber;
  if (u_isUWhiteSpace(c)) classes |= kScanSpace;
  if ((mask & U_GC_M_MASK) != 0) classes |= kScanMark;
  if ((mask & (U_GC_LU_MASK | U_GC_LT_MASK)) != 0) classes |= kScanUpper;
  if ((mask & U_GC_LL_MASK) != 0) classes |= kScanLower;
  if ((mask & U_GC_P_MASK) != 0) classes |= kScanPunctuation;
  if ((mask & U_GC_S_MASK) != 0) classes |= kScanSymbol;
  if (mask == U_GC_CN_MASK) {
    for (const AddedRange& range : kAdded) {
      if (rune >= range.first && rune <= range.last) classes |= range.classes;
    }
  }
  return static_cast<uint8_t>(classes);
}

using Plane = std::array<uint8_t, kScanPlaneRunes>;

std::unique_ptr<const Plane> MakePlane() {
  auto plane = std::make_unique<Plane>();
  for (char32_t rune = 0; rune < kScanPlaneRunes; ++rune) (*plane)[rune] = Compute(rune);
  return plane;
}

}  // namespace

const std::array<uint8_t, kScanPlaneRunes>& ScanPlane() {
  static const std::unique_ptr<const Plane> plane = MakePlane();
  return *plane;
}

uint8_t ScanClassOf(char32_t rune) {
  return rune < kScanPlaneRunes ? ScanPlane()[rune] : Compute(rune);
}

}  // namespace sluice::text
