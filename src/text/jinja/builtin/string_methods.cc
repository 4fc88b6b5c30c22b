// The methods of strings.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

// One call: the string, its arguments, and where the result goes.
struct StringCall {
  Workspace& work;
  std::string_view self;
  std::string_view name;
  const Arguments& arguments;
  Value& out;

  size_t count() const { return arguments.values.size(); }
  const Value& at(size_t i) const { return arguments.values[i]; }
  bool Fail(const std::string& what) const {
    return work.Fail("str." + std::string(name) + " " + what);
  }
  bool Text(std::string_view text) const { return work.NewString(text, out); }
  bool View(std::string_view text) const {  // a part of what lives already
    out = Value::String(text);
    return true;
  }
  bool List(const std::vector<std::string_view>& parts) const {
    Value made;
    if (!work.Charge(static_cast<int64_t>(parts.size())) || !work.NewList(parts.size(), made)) {
      return false;
    }
    for (size_t i = 0; i < parts.size(); ++i) made.list->items[i] = Value::String(parts[i]);
    out = made;
    return true;
  }
  // A string at `i`; `otherwise` where it is missing or none and may be.
  bool StringAt(size_t i, std::string_view& text) const {
    if (i >= count() || !at(i).is_string()) return Fail("expects a string");
    text = at(i).str();
    return true;
  }
  bool IntAt(size_t i, int64_t& value) const {
    if (!at(i).is_integer()) return Fail("expects an integer");
    value = at(i).AsInteger();
    return true;
  }
  // Between `low` and `high` arguments, by position only.
  bool Takes(size_t low, size_t high) const {
    if (arguments.keywords != nullptr && arguments.keywords->count > 0) {
      return Fail("takes no named arguments");
    }
    if (count() >= low && count() <= high) return true;
    return Fail("expects " + std::to_string(low) + " to " + std::to_string(high) +
                " arguments, got " + std::to_string(count()));
  }
};

bool Case(const StringCall& call) {
  if (!call.Takes(0, 0)) return false;
  const std::string_view name = call.name;
  return call.Text(name == "upper"        ? Upper(call.self)
                   : name == "lower"      ? Lower(call.self)
                   : name == "title"      ? TitleWords(call.self)
                   : name == "capitalize" ? Capitalize(call.self)
                   : name == "swapcase"   ? SwapCase(call.self)
                                          : FoldCase(call.self));
}

bool StripCall(const StringCall& call) {
  if (!call.Takes(0, 1)) return false;
  const bool left = call.name != "rstrip";
  const bool right = call.name != "lstrip";
  if (call.count() == 1 && !call.at(0).Is(Kind::kNone)) {
    std::string_view runes;
    return call.StringAt(0, runes) && call.View(StripRunes(call.self, runes, left, right));
  }
  std::string_view text = call.self;
  if (left) text = StripLeft(text);
  if (right) text = StripRight(text);
  return call.View(text);
}

// Whether the parts that splitting at `bytes` may make fit.
bool HasRoomForParts(const StringCall& call, size_t bytes) {
  return call.work.HasRoom(call.self.size() / bytes * sizeof(std::string_view));
}

bool SplitCall(const StringCall& call) {
  constexpr std::string_view kNames[] = {"sep", "maxsplit"};
  std::array<Value, 2> given;
  if (!BindArguments(call.work, call.name, call.arguments, kNames, 0, given.data())) return false;
  const bool from_right = call.name == "rsplit";
  int64_t limit = -1;
  if (!given[1].Is(Kind::kMissing)) {
    if (!given[1].is_integer()) return call.Fail("expects an integer as maxsplit");
    limit = given[1].AsInteger();
  }
  if (given[0].Is(Kind::kMissing) || given[0].Is(Kind::kNone)) {
    return HasRoomForParts(call, 2) && call.List(SplitSpaces(call.self, limit, from_right));
  }
  if (!given[0].is_string()) return call.Fail("expects a string to split at");
  if (given[0].size == 0) return call.Fail("expects a separator that is not empty");
  return HasRoomForParts(call, given[0].size) &&
         call.List(SplitAt(call.self, given[0].str(), limit, from_right));
}

bool PartitionCall(const StringCall& call) {
  std::string_view separator;
  if (!call.Takes(1, 1) || !call.StringAt(0, separator)) return false;
  if (separator.empty()) return call.Fail("expects a separator that is not empty");
  const bool from_right = call.name == "rpartition";
  const size_t found =
      from_right ? FindLastText(call.self, separator) : FindText(call.self, separator, 0);
  std::vector<std::string_view> parts;
  if (found != kNone) {
    parts = {call.self.substr(0, found), separator, call.self.substr(found + separator.size())};
  } else if (from_right) {
    parts = {{}, {}, call.self};
  } else {
    parts = {call.self, {}, {}};
  }
  if (!call.List(parts)) return false;
  call.out.kind = Kind::kTuple;
  return true;
}

// The optional bounds of find and its like, from argument `first` on: a part of the string and the
// code points before it. False in `good` when the part is out of range.
struct Part {
  std::string_view text;
  int64_t offset = 0;
  bool good = true;
};

bool PartOf(const StringCall& call, size_t first, Part& out) {
  out.text = call.self;
  if (call.count() <= first) return true;
  const auto length = static_cast<int64_t>(CountRunes(call.self));
  std::array<int64_t, 2> bounds = {0, length};
  for (size_t i = 0; i < 2 && first + i < call.count(); ++i) {
    if (call.at(first + i).Is(Kind::kNone)) continue;
    if (!call.IntAt(first + i, bounds[i])) return false;
    if (bounds[i] < 0) bounds[i] = std::max<int64_t>(bounds[i] + length, 0);
  }
  bounds[1] = std::min(bounds[1], length);
  out.good = bounds[0] <= bounds[1];
  if (!out.good) bounds[1] = bounds[0] = 0;
  out.offset = bounds[0];
  out.text =
      RuneSubstring(call.self, static_cast<size_t>(bounds[0]), static_cast<size_t>(bounds[1]));
  return true;
}

bool FindCall(const StringCall& call) {
  std::string_view what;
  Part part;
  if (!call.Takes(1, 3) || !call.StringAt(0, what) || !PartOf(call, 1, part)) return false;
  const bool last = call.name == "rfind" || call.name == "rindex";
  const size_t found = !part.good ? kNone
                       : last     ? FindLastText(part.text, what)
                                  : FindText(part.text, what, 0);
  if (found == kNone) {
    if (call.name == "index" || call.name == "rindex") return call.Fail("found no such text");
    call.out = Value::Int(-1);
    return true;
  }
  call.out = Value::Int(part.offset + static_cast<int64_t>(CountRunes(part.text.substr(0, found))));
  return true;
}

bool CountCall(const StringCall& call) {
  std::string_view what;
  Part part;
  if (!call.Takes(1, 3) || !call.StringAt(0, what) || !PartOf(call, 1, part)) return false;
  call.out = Value::Int(part.good ? static_cast<int64_t>(CountText(part.text, what)) : 0);
  return true;
}

bool AffixCall(const StringCall& call) {
  Part part;
  if (!call.Takes(1, 3) || !PartOf(call, 1, part)) return false;
  const bool starts = call.name == "startswith";
  const auto fits = [&](std::string_view affix) {
    return part.good && (starts ? part.text.starts_with(affix) : part.text.ends_with(affix));
  };
  if (call.at(0).is_string()) {
    call.out = Value::Bool(fits(call.at(0).str()));
    return true;
  }
  if (!call.at(0).Is(Kind::kTuple)) return call.Fail("expects a string or a tuple of strings");
  bool any = false;
  const jinja::List& all = *call.at(0).list;
  for (size_t i = 0; i < all.size && !any; ++i) {
    if (!all.items[i].is_string()) return call.Fail("expects a string or a tuple of strings");
    any = fits(all.items[i].str());
  }
  call.out = Value::Bool(any);
  return true;
}

bool RemoveCall(const StringCall& call) {
  std::string_view affix;
  if (!call.Takes(1, 1) || !call.StringAt(0, affix)) return false;
  std::string_view text = call.self;
  if (call.name == "removeprefix") {
    if (text.starts_with(affix)) text.remove_prefix(affix.size());
  } else if (text.ends_with(affix)) {
    text.remove_suffix(affix.size());
  }
  return call.View(text);
}

bool ReplaceCall(const StringCall& call) {
  std::string_view from;
  std::string_view to;
  int64_t limit = -1;
  if (!call.Takes(2, 3) || !call.StringAt(0, from) || !call.StringAt(1, to)) return false;
  if (call.count() == 3 && !call.IntAt(2, limit)) return false;
  return ReplaceText(call.work, call.self, from, to, limit, call.out);
}

bool JoinCall(const StringCall& call) {
  if (!call.Takes(1, 1)) return false;
  Iterator walk;
  if (!StartIterator(call.work, call.at(0), walk)) return false;
  std::string joined;
  for (bool first = true;; first = false) {
    Value item;
    const Step step = NextItem(call.work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return call.Text(joined);
    if (!item.is_string()) return call.Fail("expects strings to join");
    if (!first) joined += call.self;
    joined += item.str();
    if (!call.work.HasRoom(joined.size())) return false;
  }
}

bool JustifyCall(const StringCall& call) {
  if (!call.Takes(1, call.name == "zfill" ? 1 : 2)) return false;
  int64_t width = 0;
  if (!call.IntAt(0, width)) return false;
  std::string_view fill = call.name == "zfill" ? "0" : " ";
  if (call.count() == 2 && (!call.StringAt(1, fill) || CountRunes(fill) != 1)) {
    return call.Fail("expects a single character to fill with");
  }
  const auto length = static_cast<int64_t>(CountRunes(call.self));
  const int64_t room = std::max<int64_t>(width - length, 0);
  if (room == 0) return call.View(call.self);
  if (!call.work.HasRoom(call.self.size() + static_cast<size_t>(room) * fill.size())) return false;
  int64_t left = 0;
  if (call.name == "center") {
    left = room / 2 + (room & width & 1);  // as CPython rounds
  } else if (call.name != "ljust") {
    left = room;
  }
  std::string_view body = call.self;
  std::string text;
  if (call.name == "zfill" && !body.empty() && (body[0] == '+' || body[0] == '-')) {
    text += body[0];
    body.remove_prefix(1);
  }
  for (int64_t i = 0; i < left; ++i) text += fill;
  text += body;
  for (int64_t i = left; i < room; ++i) text += fill;
  return call.Text(text);
}

bool ExpandTabs(const StringCall& call) {
  constexpr std::string_view kNames[] = {"tabsize"};
  Value given;
  if (!BindArguments(call.work, call.name, call.arguments, kNames, 0, &given)) return false;
  int64_t width = 8;
  if (!given.Is(Kind::kMissing)) {
    if (!given.is_integer()) return call.Fail("expects an integer");
    width = given.AsInteger();
  }
  std::string text;
  int64_t column = 0;
  for (const char c : call.self) {
    if (c == '\t') {
      const int64_t spaces = width > 0 ? width - column % width : 0;
      if (!call.work.HasRoom(text.size() + static_cast<size_t>(spaces))) return false;
      text.append(static_cast<size_t>(spaces), ' ');
      column += spaces;
      continue;
    }
    text += c;
    if (c == '\n' || c == '\r') {
      column = 0;
    } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      ++column;
    }
  }
  return call.Text(text);
}

bool LinesCall(const StringCall& call) {
  constexpr std::string_view kNames[] = {"keepends"};
  Value keep;
  if (!BindArguments(call.work, call.name, call.arguments, kNames, 0, &keep)) return false;
  return HasRoomForParts(call, 1) && call.List(SplitLines(call.self, IsTrue(keep)));
}

// What a text that is marked as safe gives is marked as well.
void MarkParts(Value& made) {
  if (made.is_string()) made.markup = true;
  for (size_t i = 0; made.is_sequence() && i < made.list->size; ++i) {
    made.list->items[i].markup = made.list->items[i].is_string();
  }
}

bool FormatCall(Evaluator& evaluator, const StringCall& call) {
  if (call.name == "format") {
    return FormatBraces(evaluator, call.self, call.arguments.values, call.arguments.keywords,
                        call.out);
  }
  if (!call.Takes(1, 1)) return false;
  if (!call.at(0).Is(Kind::kDict)) return call.Fail("expects a dict");
  return FormatBraces(evaluator, call.self, {}, call.at(0).dict, call.out);
}

using Handler = bool (*)(const StringCall&);
struct NamedHandler {
  std::string_view name;
  Handler handler;
};

constexpr NamedHandler kHandlers[] = {
    {"upper", Case},
    {"lower", Case},
    {"title", Case},
    {"capitalize", Case},
    {"swapcase", Case},
    {"casefold", Case},
    {"strip", StripCall},
    {"lstrip", StripCall},
    {"rstrip", StripCall},
    {"split", SplitCall},
    {"rsplit", SplitCall},
    {"partition", PartitionCall},
    {"rpartition", PartitionCall},
    {"find", FindCall},
    {"rfind", FindCall},
    {"index", FindCall},
    {"rindex", FindCall},
    {"count", CountCall},
    {"startswith", AffixCall},
    {"endswith", AffixCall},
    {"removeprefix", RemoveCall},
    {"removesuffix", RemoveCall},
    {"replace", ReplaceCall},
    {"join", JoinCall},
    {"center", JustifyCall},
    {"ljust", JustifyCall},
    {"rjust", JustifyCall},
    {"zfill", JustifyCall},
    {"expandtabs", ExpandTabs},
    {"splitlines", LinesCall},
};

}  // namespace

bool CallStringMethod(Evaluator& evaluator, const Method& method, const Arguments& arguments,
                      Value& out) {
  Workspace& work = evaluator.work();
  const Value self = method.self;
  const StringCall call{work, self.str(), method.name, arguments, out};
  if (!work.Charge(1 + self.size / 64)) return false;
  for (const NamedHandler& known : kHandlers) {
    if (known.name != method.name) continue;
    if (!known.handler(call)) return false;
    if (self.markup) MarkParts(out);
    return true;
  }
  if (method.name == "format" || method.name == "format_map") return FormatCall(evaluator, call);
  if (method.name.starts_with("is")) {
    if (!call.Takes(0, 0)) return false;
    out = Value::Bool(HasClass(self.str(), method.name.substr(2)));
    return true;
  }
  return work.Fail("the method 'str." + std::string(method.name) + "' is not supported",
                   base::Code::kUnimplemented);
}

}  // namespace sluice::text::jinja
