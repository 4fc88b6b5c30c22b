#include "text/jinja/parse/lexer.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/number_text.h"
#include "text/jinja/parse/escape.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

using base::Error;
using base::InvalidArgument;
using base::Result;
using base::Status;

constexpr std::string_view kNone;
constexpr size_t kAbsent = std::string_view::npos;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  Lexer(std::string_view source, std::deque<std::string>& strings)
      : source_(source), strings_(strings) {}

  Result<std::vector<Token>> Run() {
    while (at_ < source_.size()) TRY(Root());
    Add(TokenKind::kEnd, kNone);
    return std::move(tokens_);
  }

 private:
  bool At(size_t at, std::string_view what) const {
    return source_.substr(std::min(at, source_.size()), what.size()) == what;
  }
  size_t SkipSpaces(size_t at) const {
    while (at < source_.size()) {
      const base::Rune rune = base::DecodeRune(source_, at);
      if (!IsSpace(rune.rune)) break;
      at += static_cast<size_t>(rune.bytes);
    }
    return at;
  }

  Error Fail(const std::string& what) const {
    return InvalidArgument("template line " + std::to_string(line_) + ": " + what);
  }

  void Advance(size_t to) {
    line_ += static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                              source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    line_starting_ = to > at_ ? source_[to - 1] == '\n' : line_starting_;
    at_ = to;
  }

  Token& Add(TokenKind kind, std::string_view text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = text;
    tokens_.push_back(token);
    return tokens_.back();
  }

  // `{%` and its sign, "raw", and the end of the tag: the place behind it, or kAbsent.
  size_t RawTag(size_t at, std::string_view name, bool ends) const {
    at += 2;
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) ++at;
    at = SkipSpaces(at);
    if (!At(at, name)) return kAbsent;
    at = SkipSpaces(at + name.size());
    if (At(at, "-%}")) return SkipSpaces(at + 3);
    if (ends && At(at, "+%}")) return at + 3;
    if (!At(at, "%}")) return kAbsent;
    at += 2;
    return ends && At(at, "\n") ? at + 1 : at;
  }

  // Data before a tag, with white space taken off as the tag's sign and lstrip_blocks say.
  void AddData(size_t end, bool is_variable, size_t sign_at) {
    std::string_view data = source_.substr(at_, end - at_);
    const char sign = sign_at < source_.size() ? source_[sign_at] : '\0';
    if (sign == '-') {
      data = StripRight(data);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t start = newline == kAbsent ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && StripLeft(data.substr(start)).empty()) {
        data = data.substr(0, start);
      }
    }
    if (!data.empty()) Add(TokenKind::kData, data);
    Advance(end);
  }

  Status Root() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == kAbsent || tag + 1 >= source_.size()) {
        Add(TokenKind::kData, source_.substr(at_));
        Advance(source_.size());
        return base::Ok();
      }
      const char second = source_[tag + 1];
      if (second == '%' || second == '{' || second == '#') break;
    }
    const char type = source_[tag + 1];
    const size_t raw = type == '%' ? RawTag(tag, "raw", false) : kAbsent;
    AddData(tag, type == '{', tag + 2);
    if (raw != kAbsent) {
      Advance(raw);
      return Raw();
    }
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const size_t inside = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (type == '#') {
      Advance(inside);
      return Comment();
    }
    Add(type == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, kNone);
    Advance(inside);
    return Inside(type == '{');
  }

  Status Comment() {
    const size_t end = source_.find("#}", at_);
    if (end == kAbsent) return Fail("expected '#}' at the end of a comment");
    size_t next = end + 2;
    const char sign = end > at_ ? source_[end - 1] : '\0';
    if (sign == '-') {
      next = SkipSpaces(next);
    } else if (sign != '+' && At(next, "\n")) {
      ++next;
    }
    Advance(next);
    return base::Ok();
  }

  Status Raw() {
    for (size_t tag = source_.find("{%", at_); tag != kAbsent; tag = source_.find("{%", tag + 1)) {
      const size_t end = RawTag(tag, "endraw", true);
      if (end == kAbsent) continue;
      AddData(tag, false, tag + 2);
      Advance(end);
      return base::Ok();
    }
    return Fail("expected '{% endraw %}' behind '{% raw %}'");
  }

  // The place behind the end of the tag that starts here, or kAbsent.
  size_t TagEnd(bool is_variable) const {
    if (is_variable) {
      if (At(at_, "-}}")) return SkipSpaces(at_ + 3);
      return At(at_, "}}") ? at_ + 2 : kAbsent;
    }
    if (At(at_, "+%}")) return at_ + 3;
    if (At(at_, "-%}")) return SkipSpaces(at_ + 3);
    if (!At(at_, "%}")) return kAbsent;
    return At(at_ + 2, "\n") ? at_ + 3 : at_ + 2;
  }

  Status Inside(bool is_variable) {
    std::string open;  // the brackets that are to close
    while (at_ < source_.size()) {
      if (open.empty()) {
        const size_t end = TagEnd(is_variable);
        if (end != kAbsent) {
          Add(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, kNone);
          Advance(end);
          return base::Ok();
        }
      }
      const size_t behind = SkipSpaces(at_);
      if (behind > at_) {
        Advance(behind);
        continue;
      }
      TRY(One(open));
    }
    return base::Ok();
  }

  Status One(std::string& open) {
    const char c = source_[at_];
    if (IsDigit(c)) return Number();
    if (c == '\'' || c == '"') {
      const size_t end = StringEnd(c);
      if (end == kAbsent) return Fail("expected the end of a string");
      TRY(String(source_.substr(at_ + 1, end - at_ - 2)));
      Advance(end);
      return base::Ok();
    }
    const size_t name_end = NameEnd(at_);
    if (name_end > at_) {
      Add(TokenKind::kName, source_.substr(at_, name_end - at_));
      Advance(name_end);
      return base::Ok();
    }
    for (const OperatorText& one : Operators()) {
      if (!At(at_, one.text)) continue;
      if (c == '(' || c == '[' || c == '{') {
        open += c == '(' ? ')' : (c == '[' ? ']' : '}');
      } else if (c == ')' || c == ']' || c == '}') {
        if (open.empty()) return Fail(std::string("unexpected '") + c + "'");
        if (open.back() != c) {
          return Fail(std::string("expected '") + open.back() + "', got '" + c + "'");
        }
        open.pop_back();
      }
      Add(one.kind, kNone);
      Advance(at_ + one.text.size());
      return base::Ok();
    }
    const auto bytes = static_cast<size_t>(base::DecodeRune(source_, at_).bytes);
    return Fail("unexpected character '" + std::string(source_.substr(at_, bytes)) + "'");
  }

  size_t NameEnd(size_t at) const {
    while (at < source_.size()) {
      const char c = source_[at];
      if (static_cast<unsigned char>(c) < 0x80) {
        if (!IsDigit(c) && c != '_' && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) break;
        ++at;
        continue;
      }
      const base::Rune rune = base::DecodeRune(source_, at);
      if (!rune.valid ||
          !HasClass("a" + std::string(source_.substr(at, static_cast<size_t>(rune.bytes))),
                    "identifier"))
        break;
      at += static_cast<size_t>(rune.bytes);
    }
    return at;
  }

  // Digits, '_' between them. `at` itself when there are none.
  size_t DigitsEnd(size_t at) const {
    if (at >= source_.size() || !IsDigit(source_[at])) return at;
    while (at < source_.size() &&
           (IsDigit(source_[at]) ||
            (source_[at] == '_' && at + 1 < source_.size() && IsDigit(source_[at + 1])))) {
      ++at;
    }
    return at;
  }

  // The end of a float that starts here, or kAbsent: a fraction or an exponent makes it one.
  size_t FloatEnd() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return kAbsent;
    const size_t whole = DigitsEnd(at_);
    size_t end = whole;
    if (At(end, ".") && DigitsEnd(end + 1) > end + 1) end = DigitsEnd(end + 1);
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      if (DigitsEnd(digits) > digits) end = DigitsEnd(digits);
    }
    return end > whole ? end : kAbsent;
  }

  Status Number() {
    const size_t real_end = FloatEnd();
    if (real_end != kAbsent) {
      double value = 0;
      if (!ParseReal(source_.substr(at_, real_end - at_), value)) return Fail("bad number");
      Add(TokenKind::kFloat, kNone).real = value;
      Advance(real_end);
      return base::Ok();
    }
    size_t end = at_;
    const char base = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : '\0';
    if (source_[at_] == '0') {
      end = at_ + 1;
      if (base == 'x' || base == 'o' || base == 'b') {
        const size_t prefixed = BasedEnd(at_ + 2, base);
        if (prefixed > at_ + 2) end = prefixed;
      }
      // More zeros are one number; other digits start the next token.
      while (end < source_.size() && base != 'x' && base != 'o' && base != 'b' &&
             (source_[end] == '0' || (source_[end] == '_' && At(end + 1, "0")))) {
        ++end;
      }
    } else {
      end = DigitsEnd(at_);
    }
    std::string digits(source_.substr(at_, end - at_));
    digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
    int64_t value = 0;
    const ParsedInteger parsed = ParseInteger(digits, 0, value);
    if (parsed == ParsedInteger::kTooLarge) {
      return base::Unimplemented("template line " + std::to_string(line_) +
                                 ": expected an integer of at most 64 bits");
    }
    if (parsed == ParsedInteger::kBad) return Fail("bad number '" + digits + "'");
    Add(TokenKind::kInteger, kNone).integer = value;
    Advance(end);
    return base::Ok();
  }

  size_t BasedEnd(size_t at, char base) const {
    const auto good = [&](size_t i) {
      if (i >= source_.size()) return false;
      const char c = static_cast<char>(source_[i] | 0x20);
      if (base == 'b') return source_[i] == '0' || source_[i] == '1';
      if (base == 'o') return source_[i] >= '0' && source_[i] <= '7';
      return IsDigit(source_[i]) || (c >= 'a' && c <= 'f');
    };
    while (good(at) || (at < source_.size() && source_[at] == '_' && good(at + 1))) ++at;
    return at;
  }

  size_t StringEnd(char quote) const {
    for (size_t i = at_ + 1; i < source_.size(); ++i) {
      if (source_[i] == '\\') {
        ++i;
      } else if (source_[i] == quote) {
        return i + 1;
      }
    }
    return kAbsent;
  }

  Status String(std::string_view body) {
    if (body.find('\\') == kAbsent) {
      Add(TokenKind::kString, body);
      return base::Ok();
    }
    std::string out;
    for (size_t i = 0; i < body.size();) {
      if (body[i] != '\\') {
        out += body[i++];
        continue;
      }
      const Status status = AppendEscape(body, i, out);
      if (!status.ok()) return Fail(status.error().message);
    }
    strings_.push_back(std::move(out));
    Add(TokenKind::kString, strings_.back());
    return base::Ok();
  }

  const std::string_view source_;
  std::deque<std::string>& strings_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view source, std::deque<std::string>& strings) {
  Lexer lexer(source, strings);
  return lexer.Run();
}

std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace sluice::text::jinja
