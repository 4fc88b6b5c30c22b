#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/processor_time.h"

namespace sluice::text {
namespace {

// Where a search may begin before it has to look at the time.
constexpr size_t kStartsPerCall = 256;
constexpr size_t kMatchesPerLook = 64;
constexpr size_t kJitStackMin = 32 * 1024;
constexpr size_t kJitStackMax = 1024 * 1024;
constexpr uint32_t kHeapKilobytesMax = 20 * 1024;  // of a match without JIT

template <class T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context, pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack, pcre2_jit_stack_free>>;

// How long a thread has worked since it first asked. Asking costs a system call.
class TimeBudget {
 public:
  bool spent() {
    const double now = base::ProcessorSeconds();
    if (!began_) began_ = now;
    return now - *began_ > 1e-6 * static_cast<double>(Pattern::kMicrosecondsMax);
  }

 private:
  std::optional<double> began_;
};

std::string MessageOf(int error) {
  std::array<PCRE2_UCHAR, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

// What a thread needs to match.
struct Matcher {
  Matcher()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackMin, kJitStackMax, nullptr)) {
    CHECK(data && context && stack);
    pcre2_set_match_limit(context.get(), Pattern::kStepsMax);
    pcre2_set_heap_limit(context.get(), kHeapKilobytesMax);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
  MatchData data;
  MatchContext context;
  JitStack stack;
};

// Oniguruma's \w and \s are other classes than PCRE2's, so is its \h, and its `{2,3}+` repeats
// where PCRE2's does not give back.
base::Result<std::string> Translate(std::string_view expression) {
  constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
  std::string out;
  int depth = 0;  // of brackets
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 'h' || next == 'H' || (next == 'W' && depth > 0)) {
        return base::Unimplemented(std::string("'\\") + next +
                                   "' in a regular expression is not supported");
      }
      if (next == 'w') {
        out.append(depth > 0 ? "" : "[").append(kWord).append(depth > 0 ? "" : "]");
      } else if (next == 'W') {
        out.append("[^").append(kWord).append("]");
      } else if (next == 's' || next == 'S') {
        out.append(next == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
      } else {
        out.append({c, next});
      }
      continue;
    }
    if (depth > 0 && c == '&' && expression.substr(i, 2) == "&&") {
      return base::Unimplemented("'&&' in a regular expression is not supported");
    }
    if (c == '[' && depth > 0 && expression.substr(i, 2) != "[:") {
      return base::Unimplemented("a bracket within brackets is not supported");
    }
    if (c == '[') ++depth;
    if (c == ']' && depth > 0) --depth;
    if (c == '}' && depth == 0 && expression.substr(i, 2) == "}+" && out.size() > 1) {
      const size_t open = expression.rfind('{', i);
      // Behind a \p{…} the plus belongs to the class.
      const bool is_property = open != std::string_view::npos && open >= 2 &&
                               expression[open - 2] == '\\' &&
                               (expression[open - 1] == 'p' || expression[open - 1] == 'P');
      if (!is_property) {
        return base::Unimplemented("'}+' in a regular expression is not supported");
      }
    }
    out += c;
  }
  return out;
}

}  // namespace

struct Pattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(code); }
  pcre2_code* const code;
};

Pattern Pattern::Literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

base::Result<Pattern> Pattern::Regex(std::string_view expression) {
  if (expression.size() > kPatternBytesMax) {
    return base::InvalidArgument("a regular expression of " + std::to_string(expression.size()) +
                                 " bytes is longer than the limit of " +
                                 std::to_string(kPatternBytesMax));
  }
  const std::string translated = TRY(Translate(expression));
  int error = 0;
  size_t at = 0;
  // Oniguruma's ^ and $ stand at every line.
  pcre2_code* const code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      &error, &at, nullptr);
  if (code == nullptr) {
    return base::InvalidArgument("regular expression '" + std::string(expression) +
                                 "': " + MessageOf(error) + " at " + std::to_string(at));
  }
  // Without JIT, where a machine has none, matching is slower and the same.
  (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  Pattern pattern;
  pattern.code_ = std::make_shared<const Code>(code);
  return pattern;
}

base::Status Pattern::Parts(std::string_view text, std::vector<PatternPart>& parts) const {
  if (code_ != nullptr) return RegexParts(text, parts);
  size_t done = 0;
  while (!literal_.empty() && done < text.size()) {
    const size_t found = text.find(literal_, done);
    if (found == std::string_view::npos) break;
    if (found > done) parts.push_back({text.substr(done, found - done), false});
    parts.push_back({text.substr(found, literal_.size()), true});
    done = found + literal_.size();
  }
  if (done < text.size()) parts.push_back({text.substr(done), false});
  return base::Ok();
}

base::Status Pattern::RegexParts(std::string_view text, std::vector<PatternPart>& parts) const {
  thread_local const Matcher matcher;
  if (text.size() > kRegexBytesMax) {
    return base::ResourceExhausted("a text of " + std::to_string(text.size()) +
                                   " bytes is longer than the limit of a regular expression, " +
                                   std::to_string(kRegexBytesMax));
  }
  const auto* const subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto at_rune = [&](size_t at) {
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
    return at;
  };
  TimeBudget budget;
  size_t done = 0;  // everything before is in a part
  size_t from = 0;  // where the search goes on
  while (from <= text.size()) {
    const size_t last_start = at_rune(std::min(from + kStartsPerCall, text.size()));
    pcre2_set_offset_limit(matcher.context.get(), last_start);
    const auto match = [&](uint32_t options) {
      return pcre2_match(code_->code, subject, text.size(), from, options | PCRE2_NO_UTF_CHECK,
                         matcher.data.get(), matcher.context.get());
    };
    int count = match(0);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
    if (count == PCRE2_ERROR_NOMATCH) {
      if (last_start >= text.size()) break;
      from = at_rune(last_start + 1);
      if (!budget.spent()) continue;
      return base::ResourceExhausted("matching a regular expression takes more than " +
                                     std::to_string(kMicrosecondsMax) + " us");
    }
    if (count < 0) {
      return base::ResourceExhausted("matching a regular expression at byte " +
                                     std::to_string(from) + ": " + MessageOf(count));
    }
    const size_t* const ends = pcre2_get_ovector_pointer(matcher.data.get());
    const size_t begin = ends[0];
    const size_t end = ends[1];
    if (begin > end || begin < done) break;  // a \K in a look-around
    if (begin > done) parts.push_back({text.substr(done, begin - done), false});
    parts.push_back({text.substr(begin, end - begin), true});
    done = end;
    // Behind an empty match the next one starts a character later.
    from = begin == end ? at_rune(end + 1) : end;
    if (begin == end && end == text.size()) break;
    if (parts.size() % kMatchesPerLook == 0 && budget.spent()) {
      return base::ResourceExhausted("matching a regular expression takes more than " +
                                     std::to_string(kMicrosecondsMax) + " us");
    }
  }
  if (done < text.size()) parts.push_back({text.substr(done), false});
  return base::Ok();
}

base::Result<std::string> Pattern::Replace(std::string_view text, std::string_view content,
                                           size_t bytes_max) const {
  std::vector<PatternPart> parts;
  TRY(Parts(text, parts));
  std::string out;
  out.reserve(text.size());
  for (const PatternPart& part : parts) {
    out.append(part.matches ? content : part.text);
    if (out.size() > bytes_max) {
      return base::ResourceExhausted("a normalised text is longer than " +
                                     std::to_string(bytes_max) + " bytes");
    }
  }
  return out;
}

}  // namespace sluice::text
