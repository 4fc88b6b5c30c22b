#include "text/jinja/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/utf8.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"
#include "text/jinja/sort.h"

namespace sluice::text::jinja {
namespace {

bool Fits(Workspace& work, const std::string& out) {
  if (out.size() <= work.limits().output_bytes_max) return true;
  return work.Fail("more than " + std::to_string(work.limits().output_bytes_max) + " bytes of text",
                   base::Code::kResourceExhausted);
}

bool FailNested(Workspace& work) {
  return work.Fail("more than " + std::to_string(kNestingMax) + " values within values",
                   base::Code::kResourceExhausted);
}

bool AppendItems(Workspace& work, const List& list, std::string& out, int depth) {
  for (size_t i = 0; i < list.size; ++i) {
    if (i > 0) out += ", ";
    if (!AppendRepr(work, list.items[i], out, depth + 1)) return false;
  }
  return true;
}

bool AppendDictRepr(Workspace& work, const Dict& dict, std::string& out, int depth) {
  out += '{';
  for (uint32_t i = 0; i < dict.count; ++i) {
    if (i > 0) out += ", ";
    if (!AppendRepr(work, dict.entries[i].key, out, depth + 1)) return false;
    out += ": ";
    if (!AppendRepr(work, dict.entries[i].value, out, depth + 1)) return false;
  }
  out += '}';
  return true;
}

bool AppendViewRepr(Workspace& work, const View& view, std::string& out, int depth) {
  constexpr const char* kNames[] = {"dict_keys([", "dict_values([", "dict_items(["};
  out += kNames[static_cast<size_t>(view.kind)];
  for (uint32_t i = 0; i < view.dict->count; ++i) {
    const Dict::Entry& entry = view.dict->entries[i];
    if (i > 0) out += ", ";
    if (view.kind == ViewKind::kItems) out += '(';
    if (view.kind != ViewKind::kValues && !AppendRepr(work, entry.key, out, depth + 1)) {
      return false;
    }
    if (view.kind == ViewKind::kItems) out += ", ";
    if (view.kind != ViewKind::kKeys && !AppendRepr(work, entry.value, out, depth + 1)) {
      return false;
    }
    if (view.kind == ViewKind::kItems) out += ')';
  }
  out += "])";
  return true;
}

void AppendRangeRepr(const Range& range, std::string& out) {
  out += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
  if (range.step != 1) out += ", " + std::to_string(range.step);
  out += ')';
}

void AppendHexEscape(const char* format, char32_t rune, std::string& out) {
  char text[12];
  std::snprintf(text, sizeof(text), format, static_cast<unsigned>(rune));
  out += text;
}

// The literal of JSON, and of Python inside json.dumps.
void AppendJsonFloat(double value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "Infinity" : "-Infinity";
  } else {
    AppendFloat(value, out);
  }
}

void AppendJsonText(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  size_t plain = 0;  // up to here it is written
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x7F || !ensure_ascii)) {
      ++at;
      continue;
    }
    out.append(text, plain, at - plain);
    const base::Rune rune = base::DecodeRune(text, at);
    at += static_cast<size_t>(rune.bytes);
    plain = at;
    switch (rune.rune) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (rune.rune == 0x7F) {  // json.dumps leaves DEL in both ways
          out += '\x7F';
        } else if (rune.rune > 0xFFFF) {
          const char32_t rest = rune.rune - 0x10000;
          AppendHexEscape("\\u%04x", 0xD800 + (rest >> 10), out);
          AppendHexEscape("\\u%04x", 0xDC00 + (rest & 0x3FF), out);
        } else {
          AppendHexEscape("\\u%04x", rune.rune, out);
        }
    }
  }
  out.append(text, plain, std::string_view::npos);
  out += '"';
}

class JsonPrinter {
 public:
  JsonPrinter(Workspace& work, const JsonStyle& style, std::string& out)
      : work_(work), style_(style), out_(out) {}

  bool Append(const Value& value, int depth) {
    if (depth > kNestingMax) return FailNested(work_);
    if (!work_.Charge(1) || !Fits(work_, out_)) return false;
    switch (value.kind) {
      case Kind::kNone:
        out_ += "null";
        return true;
      case Kind::kBool:
        out_ += value.boolean ? "true" : "false";
        return true;
      case Kind::kInt:
        out_ += std::to_string(value.integer);
        return true;
      case Kind::kFloat:
        AppendJsonFloat(value.real, out_);
        return true;
      case Kind::kString:
        AppendJsonText(value.str(), style_.ensure_ascii, out_);
        return true;
      case Kind::kList:
      case Kind::kTuple:
        return AppendList(*value.list, depth);
      case Kind::kDict:
        return AppendDict(*value.dict, depth);
      default:
        return work_.Fail(std::string("expected a value that JSON has, got ") + KindName(value));
    }
  }

 private:
  void BreakLine(int depth) {
    if (!style_.indented) return;
    out_ += '\n';
    for (int i = 0; i < depth; ++i) out_ += style_.indent;
  }

  bool AppendList(const List& list, int depth) {
    out_ += '[';
    for (size_t i = 0; i < list.size; ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine(depth + 1);
      if (!Append(list.items[i], depth + 1)) return false;
    }
    if (list.size > 0) BreakLine(depth);
    out_ += ']';
    return true;
  }

  bool AppendKey(const Value& key) {
    if (key.is_string()) {
      AppendJsonText(key.str(), style_.ensure_ascii, out_);
      return true;
    }
    std::string text;
    if (!(key.is_number() || key.Is(Kind::kNone)) || !AppendScalar(key, text)) {
      return work_.Fail(std::string("expected a key that JSON has, got ") + KindName(key));
    }
    AppendJsonText(text, style_.ensure_ascii, out_);
    return true;
  }

  bool AppendScalar(const Value& key, std::string& text) {
    JsonPrinter printer(work_, style_, text);
    return printer.Append(key, 0);
  }

  bool AppendDict(const Dict& dict, int depth) {
    std::vector<const Dict::Entry*> order(dict.count);
    for (uint32_t i = 0; i < dict.count; ++i) order[i] = &dict.entries[i];
    if (style_.sort_keys) {
      const auto before = [&](const Dict::Entry* a, const Dict::Entry* b, bool& out) {
        return Order(work_, Operator::kLess, a->key, b->key, out);
      };
      if (!StableSort(order, before)) return false;
    }
    out_ += '{';
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine(depth + 1);
      if (!AppendKey(order[i]->key)) return false;
      out_ += style_.key_separator;
      if (!Append(order[i]->value, depth + 1)) return false;
    }
    if (!order.empty()) BreakLine(depth);
    out_ += '}';
    return true;
  }

  Workspace& work_;
  const JsonStyle& style_;
  std::string& out_;
};

}  // namespace

void AppendFloat(double value, std::string& out) {
  if (std::isnan(value) || std::isinf(value)) {
    out += std::isnan(value) ? "nan" : (value > 0 ? "inf" : "-inf");
    return;
  }
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific);
  const std::string_view shortest(text, static_cast<size_t>(end.ptr - text));
  const size_t e = shortest.find('e');
  int exponent = 0;
  const char* digits_begin = shortest.data() + e + 1 + (shortest[e + 1] == '+' ? 1 : 0);
  std::from_chars(digits_begin, end.ptr, exponent);
  // Python writes an exponent where it is below -4 or at least 16.
  if (exponent < -4 || exponent >= 16) {
    out += shortest;
    return;
  }
  std::string_view mantissa = shortest.substr(0, e);
  if (mantissa.front() == '-') {
    out += '-';
    mantissa.remove_prefix(1);
  }
  std::string digits(1, mantissa.front());
  if (mantissa.size() > 2) digits += mantissa.substr(2);
  if (exponent < 0) {
    out += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
    return;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    out += digits + std::string(whole - digits.size(), '0') + ".0";
  } else {
    out += digits.substr(0, whole) + "." + digits.substr(whole);
  }
}

void AppendStringRepr(std::string_view text, std::string& out) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  for (size_t at = 0; at < text.size();) {
    const base::Rune decoded = base::DecodeRune(text, at);
    const char32_t rune = decoded.rune;
    if (rune == static_cast<unsigned char>(quote) || rune == '\\') {
      out += '\\';
      out += static_cast<char>(rune);
    } else if (rune == '\n') {
      out += "\\n";
    } else if (rune == '\r') {
      out += "\\r";
    } else if (rune == '\t') {
      out += "\\t";
    } else if (IsPrintable(rune)) {
      out.append(text, at, static_cast<size_t>(decoded.bytes));
    } else {
      AppendHexEscape(rune < 0x100 ? "\\x%02x" : (rune < 0x10000 ? "\\u%04x" : "\\U%08x"), rune,
                      out);
    }
    at += static_cast<size_t>(decoded.bytes);
  }
  out += quote;
}

bool AppendRepr(Workspace& work, const Value& value, std::string& out, int depth) {
  if (depth > kNestingMax) return FailNested(work);
  if (!work.Charge(1) || !Fits(work, out)) return false;
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined:
      out += "Undefined";
      return true;
    case Kind::kNone:
      out += "None";
      return true;
    case Kind::kBool:
      out += value.boolean ? "True" : "False";
      return true;
    case Kind::kInt:
      out += std::to_string(value.integer);
      return true;
    case Kind::kFloat:
      AppendFloat(value.real, out);
      return true;
    case Kind::kString:
      if (value.markup) out += "Markup(";
      AppendStringRepr(value.str(), out);
      if (value.markup) out += ')';
      return true;
    case Kind::kList:
      out += '[';
      if (!AppendItems(work, *value.list, out, depth)) return false;
      out += ']';
      return true;
    case Kind::kTuple:
      out += '(';
      if (!AppendItems(work, *value.list, out, depth)) return false;
      out += value.list->size == 1 ? ",)" : ")";
      return true;
    case Kind::kDict:
      return AppendDictRepr(work, *value.dict, out, depth);
    case Kind::kView:
      return AppendViewRepr(work, *value.view, out, depth);
    case Kind::kRange:
      AppendRangeRepr(*value.range, out);
      return true;
    case Kind::kNamespace:
      out += "<Namespace ";
      if (!AppendDictRepr(work, *value.dict, out, depth)) return false;
      out += '>';
      return true;
    default:
      // Python prints an address here, which no template can want.
      out += std::string("<") + KindName(value) + ">";
      return true;
  }
}

bool AppendStr(Workspace& work, const Value& value, std::string& out) {
  if (value.is_string()) {
    out.append(value.text, value.size);
    return Fits(work, out);
  }
  if (value.Is(Kind::kUndefined) || value.Is(Kind::kMissing)) return true;
  return AppendRepr(work, value, out);
}

bool ToStr(Workspace& work, const Value& value, Value& out) {
  if (value.is_string()) {
    out = value;
    return true;
  }
  std::string text;
  return AppendStr(work, value, text) && work.NewString(text, out);
}

bool AppendJson(Workspace& work, const Value& value, const JsonStyle& style, std::string& out) {
  JsonPrinter printer(work, style, out);
  return printer.Append(value, 0) && Fits(work, out);
}

}  // namespace sluice::text::jinja
