#include "text/unicode/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/utf8.h"

namespace sluice::text {
namespace {

// Printable bytes of Latin-1 stand for themselves, the others for characters from U+0100 on.
constexpr bool IsPrintable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}
constexpr char32_t kFirstOther = 0x100;
constexpr int kOthers = 68;

struct Alphabet {
  std::array<char32_t, 256> rune_of{};
  std::array<int16_t, kFirstOther + kOthers> byte_of{};  // -1: none
};
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte_of) byte = -1;
  char32_t other = kFirstOther;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t rune = IsPrintable(byte) ? static_cast<char32_t>(byte) : other++;
    alphabet.rune_of[static_cast<size_t>(byte)] = rune;
    alphabet.byte_of[rune] = static_cast<int16_t>(byte);
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

void AppendAsAlphabet(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    base::AppendRune(kAlphabet.rune_of[static_cast<unsigned char>(byte)], out);
  }
}

std::optional<std::string> BytesOfAlphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    const int16_t byte =
        rune.rune < kAlphabet.byte_of.size() ? kAlphabet.byte_of[rune.rune] : int16_t{-1};
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    i += static_cast<size_t>(rune.bytes);
  }
  return bytes;
}

}  // namespace sluice::text
