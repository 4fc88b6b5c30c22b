// Filters that make text of text.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

bool NoArguments(Evaluator& evaluator, std::string_view name, const Arguments& arguments) {
  return BindArguments(evaluator.work(), name, arguments, {}, 0, nullptr);
}

// The input as text, and a new text made of it.
bool MapText(Evaluator& evaluator, std::string_view name, const Value& input,
             const Arguments& arguments, std::string (*map)(std::string_view), Value& out) {
  Value text;
  if (!NoArguments(evaluator, name, arguments) || !ToStr(evaluator.work(), input, text))
    return false;
  return evaluator.work().Charge(1 + text.size / 64) &&
         evaluator.work().NewString(map(text.str()), out, text.markup);
}

std::string TitleFilter(std::string_view text) {
  // Words begin behind runs of these, and of white space.
  constexpr std::string_view kSeparators = "-({[<";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto is_separator = [&](size_t i, size_t& bytes) {
      bytes = RuneOffset(text.substr(i, 4), 1);
      if (bytes == 0) bytes = 1;
      return kSeparators.find(text[i]) != std::string_view::npos ||
             Strip(text.substr(i, bytes)).empty();
    };
    size_t bytes = 0;
    if (is_separator(at, bytes)) {
      out += text.substr(at, bytes);
      at += bytes;
      continue;
    }
    const size_t begin = at;
    while (at < text.size() && !is_separator(at, bytes)) at += bytes;
    const std::string_view word = text.substr(begin, at - begin);
    const size_t first = RuneOffset(word, 1);
    out += Upper(word.substr(0, first)) + Lower(word.substr(first));
  }
  return out;
}

bool IntegerOr(Workspace& work, const char* who, const Value& given, int64_t otherwise,
               int64_t& out) {
  out = otherwise;
  if (given.Is(Kind::kMissing)) return true;
  if (given.Is(Kind::kUndefined)) return FailUndefined(work, given);
  if (!given.is_integer()) {
    return work.Fail(std::string(who) + " expects an integer, got " + KindName(given));
  }
  out = given.AsInteger();
  return true;
}

void AppendUrlQuoted(std::string_view text, bool for_query, std::string& out) {
  constexpr std::string_view kPlain = "_.-~";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (byte < 0x80 &&
        (alnum || kPlain.find(c) != std::string_view::npos || (c == '/' && !for_query))) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

}  // namespace

bool FilterUpper(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  return MapText(evaluator, "upper", input, arguments, Upper, out);
}
bool FilterLower(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  return MapText(evaluator, "lower", input, arguments, Lower, out);
}
bool FilterCapitalize(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out) {
  return MapText(evaluator, "capitalize", input, arguments, Capitalize, out);
}
bool FilterTitle(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  return MapText(evaluator, "title", input, arguments, TitleFilter, out);
}

bool FilterString(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  return NoArguments(evaluator, "string", arguments) && ToStr(evaluator.work(), input, out);
}

bool FilterSafe(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  if (!NoArguments(evaluator, "safe", arguments) || !ToStr(evaluator.work(), input, out))
    return false;
  out.markup = true;
  return true;
}

bool FilterEscape(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  Value text;
  if (!NoArguments(evaluator, "escape", arguments) || !ToStr(evaluator.work(), input, text))
    return false;
  if (text.markup) {
    out = text;
    return true;
  }
  return evaluator.work().HasRoom(text.size * size_t{6}) &&
         evaluator.work().NewString(EscapeHtml(text.str()), out, true);
}

bool FilterForceEscape(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                       Value& out) {
  Value plain = input;
  plain.markup = false;
  return FilterEscape(evaluator, plain, arguments, out);
}

bool FilterTrim(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"chars"};
  Workspace& work = evaluator.work();
  Value runes;
  Value text;
  if (!BindArguments(work, "trim", arguments, kNames, 0, &runes)) return false;
  if (!ToStr(work, input, text)) return false;
  if (runes.Is(Kind::kMissing) || runes.Is(Kind::kNone)) {
    out = Value::String(Strip(text.str()), text.markup);
    return true;
  }
  if (!runes.is_string()) return work.Fail("'trim' expects a string of characters");
  out = Value::String(StripRunes(text.str(), runes.str(), true, true), text.markup);
  return true;
}

bool FilterReplace(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out) {
  constexpr std::string_view kNames[] = {"old", "new", "count"};
  Workspace& work = evaluator.work();
  std::array<Value, 3> given;
  if (!BindArguments(work, "replace", arguments, kNames, 2, given.data())) return false;
  int64_t limit = -1;
  if (!given[2].Is(Kind::kNone) && !IntegerOr(work, "'replace'", given[2], -1, limit)) return false;
  Value text;
  Value from;
  Value to;
  if (!ToStr(work, input, text) || !ToStr(work, given[0], from) || !ToStr(work, given[1], to)) {
    return false;
  }
  return ReplaceText(work, text.str(), from.str(), to.str(), limit, out);
}

bool FilterCenter(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  constexpr std::string_view kNames[] = {"width"};
  Workspace& work = evaluator.work();
  Value width;
  Value text;
  if (!BindArguments(work, "center", arguments, kNames, 0, &width)) return false;
  if (width.Is(Kind::kMissing)) width = Value::Int(80);
  if (!ToStr(work, input, text)) return false;
  return CallStringMethod(evaluator, {text, "center"}, {{&width, 1}, nullptr}, out);
}

bool FilterIndent(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  constexpr std::string_view kNames[] = {"width", "first", "blank"};
  Workspace& work = evaluator.work();
  std::array<Value, 3> given;
  if (!BindArguments(work, "indent", arguments, kNames, 0, given.data())) return false;
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  if (!input.is_string()) {
    return work.Fail(std::string("'indent' expects a string, got ") + KindName(input));
  }
  std::string space;
  if (given[0].is_string()) {
    space = given[0].str();
  } else {
    int64_t width = 4;
    if (!IntegerOr(work, "'indent'", given[0], 4, width)) return false;
    width = std::max<int64_t>(width, 0);
    if (!work.HasRoom(static_cast<size_t>(width))) return false;
    space.assign(static_cast<size_t>(width), ' ');
  }
  const bool blank = IsTrue(given[2]);
  if (!work.HasRoom(input.size * sizeof(std::string_view))) return false;
  const std::string text = std::string(input.str()) + "\n";
  const std::vector<std::string_view> lines = SplitLines(text, false);
  if (space.size() > 0 && lines.size() > work.limits().bytes_max / space.size()) {
    return work.HasRoom(work.limits().bytes_max + 1);
  }
  if (!work.HasRoom(text.size() + lines.size() * space.size())) return false;
  std::string indented = IsTrue(given[1]) ? space : std::string();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) indented += '\n';
    if (i > 0 && (blank || !lines[i].empty())) indented += space;
    indented += lines[i];
  }
  return work.NewString(indented, out, input.markup);
}

bool FilterTruncate(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                    Value& out) {
  constexpr std::string_view kNames[] = {"length", "killwords", "end", "leeway"};
  Workspace& work = evaluator.work();
  std::array<Value, 4> given;
  if (!BindArguments(work, "truncate", arguments, kNames, 0, given.data())) return false;
  int64_t length = 255;
  int64_t leeway = 5;
  if (!IntegerOr(work, "'truncate'", given[0], 255, length)) return false;
  if (!given[3].Is(Kind::kNone) && !IntegerOr(work, "'truncate'", given[3], 5, leeway))
    return false;
  if (!given[2].Is(Kind::kMissing) && !given[2].is_string()) {
    return work.Fail("'truncate' expects a string as its end");
  }
  const std::string_view end = given[2].is_string() ? given[2].str() : "...";
  const auto end_length = static_cast<int64_t>(CountRunes(end));
  if (length < end_length || leeway < 0) return work.Fail("'truncate' expects a larger length");
  const int64_t size = LengthOf(input);
  if (size < 0)
    return work.Fail(std::string("'truncate' expects a string, got ") + KindName(input));
  if (size - leeway <= length) {
    out = input;
    return true;
  }
  if (!input.is_string()) return work.Fail("'truncate' expects a string");
  std::string_view kept = RuneSubstring(input.str(), 0, static_cast<size_t>(length - end_length));
  if (!IsTrue(given[1])) {
    const size_t space = kept.rfind(' ');
    if (space != std::string_view::npos) kept = kept.substr(0, space);
  }
  return work.Concatenate(kept, end, out);
}

bool FilterWordCount(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     Value& out) {
  Value text;
  if (!NoArguments(evaluator, "wordcount", arguments)) return false;
  if (!ToStr(evaluator.work(), input, text)) return false;
  out = Value::Int(CountWords(text.str()));
  return true;
}

bool FilterFormat(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  Workspace& work = evaluator.work();
  const bool named = arguments.keywords != nullptr && arguments.keywords->count > 0;
  if (named && !arguments.values.empty()) {
    return work.Fail("'format' takes arguments either by position or by name");
  }
  Value text;
  if (!ToStr(work, input, text)) return false;
  Value values;
  if (named) {
    values = Value::Of(Kind::kDict);
    values.dict = const_cast<Dict*>(arguments.keywords);
  } else {
    if (!work.NewTuple(arguments.values.size(), values)) return false;
    std::copy(arguments.values.begin(), arguments.values.end(), values.list->items);
  }
  return FormatPercent(work, text.str(), values, out);
}

bool FilterUrlEncode(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     Value& out) {
  Workspace& work = evaluator.work();
  if (!NoArguments(evaluator, "urlencode", arguments)) return false;
  std::string quoted;
  Value text;
  if (input.is_string() || !IsIterable(input)) {
    if (!ToStr(work, input, text)) return false;
    AppendUrlQuoted(text.str(), false, quoted);
    return work.NewString(quoted, out);
  }
  Value pairs = input;
  if (input.Is(Kind::kDict) && !CallMethod(evaluator, {input, "items"}, {}, pairs)) return false;
  Iterator walk;
  if (!StartIterator(work, pairs, walk)) return false;
  for (bool first = true;; first = false) {
    Value item;
    Value pair;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return work.NewString(quoted, out);
    if (!Collect(work, item, pair)) return false;
    if (pair.list->size != 2) return work.Fail("'urlencode' expects pairs");
    if (!first) quoted += '&';
    if (!ToStr(work, pair.list->items[0], text)) return false;
    AppendUrlQuoted(text.str(), true, quoted);
    quoted += '=';
    if (!ToStr(work, pair.list->items[1], text)) return false;
    AppendUrlQuoted(text.str(), true, quoted);
    if (!work.HasRoom(quoted.size())) return false;
  }
}

}  // namespace sluice::text::jinja
