// A template's source as tokens, by the rules of Jinja 3.1 with trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::text::jinja {

enum class TokenKind : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kTilde,
  kLeftBracket,
  kRightBracket,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAssign,
  kDot,
  kColon,
  kPipe,
  kComma,
  kSemicolon,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;
  std::string_view text;  // of data and names; a string's value
  int64_t integer = 0;
  double real = 0;
};

// "a name", "'+'", for messages.
std::string TokenName(TokenKind kind);

// Ends with a kEnd. `source` has line feeds only and outlives the tokens; strings with escapes are
// kept in `strings`.
base::Result<std::vector<Token>> Tokenize(std::string_view source,
                                          std::deque<std::string>& strings);
// What Tokenize takes: line ends become "\n", and the last one goes.
std::string NormalizeNewlines(std::string_view source);

}  // namespace sluice::text::jinja
