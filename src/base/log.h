// Logging: one structured line per surprise. Rates belong in metrics (metrics.h).
//
//   Log(LogLevel::kWarning, "model_load_failed").With("model", name).With("reason", error.message);
//
// prints, when the statement ends,
//   2026-01-31T12:00:00.123456Z WARNING model_load_failed model=bert reason="no such file"
// or the same as one JSON object.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sluice::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// "info" and so on, as the configuration names them; nullopt for another word.
std::optional<LogLevel> LogLevelFromName(std::string_view name);

// Process-wide, thread-safe, set once by bin/ or a test.
void SetLogFormat(LogFormat format);
void SetLogLevel(LogLevel lowest);  // lines below are dropped; default kInfo
// Receives each whole line, with its newline, one at a time. Empty: standard error, one write(2) a
// line. Must not log.
void SetLogSink(std::function<void(std::string_view line)> sink);

// Lets one line through per interval and counts the rest. One static object per call site;
// thread-safe.
class LogLimit {
 public:
  explicit LogLimit(Duration interval, const Clock& clock = SystemClock::Get())
      : interval_(interval), clock_(clock) {}
  // How many lines were suppressed since the last one let through; nullopt: suppress this one too.
  std::optional<int64_t> Pass();

 private:
  const Duration interval_;
  const Clock& clock_;
  std::atomic<int64_t> next_ns_{std::numeric_limits<int64_t>::min()};
  std::atomic<int64_t> suppressed_{0};
};

// One line in the making; written when it is destroyed. `event` is a snake_case name of our own.
// Long values are cut at kValueBytesMax, because a client may have sent them.
class Log {
 public:
  static constexpr size_t kValueBytesMax = 2048;

  Log(LogLevel level, std::string_view event);
  // With `suppressed=n` when lines of this call site were held back before.
  Log(LogLevel level, std::string_view event, LogLimit& limit);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  Log& With(std::string_view key, std::string_view value);
  Log& With(std::string_view key, const char* value) { return With(key, std::string_view(value)); }
  Log& With(std::string_view key, const std::string& value) {
    return With(key, std::string_view(value));
  }
  Log& With(std::string_view key, bool value);
  Log& With(std::string_view key, double value);
  Log& With(std::string_view key, std::integral auto value) {
    if constexpr (std::is_signed_v<decltype(value)>) {
      return WithSigned(key, value);
    } else {
      return WithUnsigned(key, value);
    }
  }

 private:
  Log& WithSigned(std::string_view key, int64_t value);
  Log& WithUnsigned(std::string_view key, uint64_t value);
  void Begin(LogLevel level, std::string_view event);
  void PutKey(std::string_view key);

  bool active_ = false;
  LogFormat format_ = LogFormat::kText;
  std::string line_;
};

}  // namespace sluice::base
