// Character classes as the regular expressions of pre-tokenisers see them: \p{L}, \p{N}, \s and so
// on of Unicode 16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::text {

// Bits of ScanClassOf.
enum ScanClass : uint8_t {
  kScanLetter = 1 << 0,       // \p{L}
  kScanNumber = 1 << 1,       // \p{N}
  kScanSpace = 1 << 2,        // \s
  kScanMark = 1 << 3,         // \p{M}
  kScanUpper = 1 << 4,        // \p{Lu}, \p{Lt}
  kScanLower = 1 << 5,        // \p{Ll}
  kScanPunctuation = 1 << 6,  // \p{P}
  kScanSymbol = 1 << 7,       // \p{S}
};

inline constexpr char32_t kScanPlaneRunes = 0x10000;
// The basic plane, computed at the first use: a millisecond, 64 KiB.
const std::array<uint8_t, kScanPlaneRunes>& ScanPlane();
// The same for any scalar value.
uint8_t ScanClassOf(char32_t rune);

}  // namespace sluice::text
