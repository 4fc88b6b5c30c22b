#include "text/jinja/parse/token.h"

namespace sluice::text::jinja {
namespace {

constexpr OperatorText kOperators[] = {
    {"**", TokenKind::kPower},      {"//", TokenKind::kFloorDivide},  {"==", TokenKind::kEqual},
    {"!=", TokenKind::kNotEqual},   {">=", TokenKind::kGreaterEqual}, {"<=", TokenKind::kLessEqual},
    {"+", TokenKind::kAdd},         {"-", TokenKind::kSubtract},      {"*", TokenKind::kMultiply},
    {"/", TokenKind::kDivide},      {"%", TokenKind::kModulo},        {"~", TokenKind::kTilde},
    {"[", TokenKind::kLeftBracket}, {"]", TokenKind::kRightBracket},  {"(", TokenKind::kLeftParen},
    {")", TokenKind::kRightParen},  {"{", TokenKind::kLeftBrace},     {"}", TokenKind::kRightBrace},
    {">", TokenKind::kGreater},     {"<", TokenKind::kLess},          {"=", TokenKind::kAssign},
    {".", TokenKind::kDot},         {":", TokenKind::kColon},         {"|", TokenKind::kPipe},
    {",", TokenKind::kComma},       {";", TokenKind::kSemicolon},
};

}  // namespace

std::span<const OperatorText> Operators() {
  return kOperators;
}

std::string TokenName(TokenKind kind) {
  switch (kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kName:
      return "a name";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
      return "an integer";
    case TokenKind::kFloat:
      return "a float";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      for (const OperatorText& one : kOperators) {
        if (one.kind == kind) return "'" + std::string(one.text) + "'";
      }
      return "'?'";
  }
}

}  // namespace sluice::text::jinja
