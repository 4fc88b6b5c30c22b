// The tokens of a template.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

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

struct OperatorText {
  std::string_view text;
  TokenKind kind;
};

// Longer ones first.
std::span<const OperatorText> Operators();

}  // namespace sluice::text::jinja
