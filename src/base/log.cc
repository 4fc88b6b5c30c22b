#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <utility>

#include "base/json.h"

namespace sluice::base {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames = {"DEBUG", "INFO", "WARNING", "ERROR"};
constexpr std::array<std::string_view, 4> kConfigNames = {"debug", "info", "warning", "error"};

std::atomic<LogFormat> g_format{LogFormat::kText};
std::atomic<LogLevel> g_level{LogLevel::kInfo};

// The sink and the mutex that keeps lines whole. Leaked, so that threads may log while the process
// ends.
struct Output {
  std::mutex mutex;
  std::function<void(std::string_view)> sink;
};
Output& TheOutput() {
  static Output* const output = new Output;
  return *output;
}

void WriteToStandardError(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written <= 0) return;  // nobody is left to tell
    line.remove_prefix(static_cast<size_t>(written));
  }
}

// "2026-01-31T12:00:00.123456Z"
std::string UtcNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  std::array<char, 32> text{};
  const size_t length = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::array<char, 32> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06ldZ", now.tv_nsec / 1000);
  return std::string(text.data(), length) + fraction.data();
}

// Whether a value can stand in a key=value line without quotes.
bool IsPlain(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  }
  return true;
}

}  // namespace

std::optional<LogLevel> LogLevelFromName(std::string_view name) {
  for (size_t i = 0; i < kConfigNames.size(); ++i) {
    if (kConfigNames[i] == name) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

void SetLogFormat(LogFormat format) {
  g_format.store(format, std::memory_order_relaxed);
}
void SetLogLevel(LogLevel lowest) {
  g_level.store(lowest, std::memory_order_relaxed);
}
void SetLogSink(std::function<void(std::string_view)> sink) {
  const std::lock_guard lock(TheOutput().mutex);
  TheOutput().sink = std::move(sink);
}

std::optional<int64_t> LogLimit::Pass() {
  const int64_t now = clock_.Now().ns;
  int64_t next = next_ns_.load(std::memory_order_relaxed);
  const int64_t following = (Time{now} + interval_).ns;
  if (now < next || !next_ns_.compare_exchange_strong(next, following, std::memory_order_relaxed)) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return suppressed_.exchange(0, std::memory_order_relaxed);
}

Log::Log(LogLevel level, std::string_view event) {
  Begin(level, event);
}

Log::Log(LogLevel level, std::string_view event, LogLimit& limit) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  const std::optional<int64_t> suppressed = limit.Pass();
  if (!suppressed.has_value()) return;
  Begin(level, event);
  if (*suppressed > 0) With("suppressed", *suppressed);
}

void Log::Begin(LogLevel level, std::string_view event) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  active_ = true;
  format_ = g_format.load(std::memory_order_relaxed);
  const std::string_view level_name = kLevelNames[static_cast<size_t>(level)];
  if (format_ == LogFormat::kJson) {
    line_ = "{\"time\":\"" + UtcNow() + "\",\"level\":\"";
    line_.append(level_name).append("\",\"event\":");
    AppendJsonString(event, line_);
  } else {
    line_ = UtcNow() + " ";
    line_.append(level_name).append(" ").append(event);
  }
}

Log::~Log() {
  if (!active_) return;
  line_ += format_ == LogFormat::kJson ? "}\n" : "\n";
  Output& output = TheOutput();
  const std::lock_guard lock(output.mutex);
  if (output.sink) {
    output.sink(line_);
  } else {
    WriteToStandardError(line_);
  }
}

void Log::PutKey(std::string_view key) {
  if (format_ == LogFormat::kJson) {
    line_ += ',';
    AppendJsonString(key, line_);
    line_ += ':';
  } else {
    line_ += ' ';
    line_.append(key);
    line_ += '=';
  }
}

Log& Log::With(std::string_view key, std::string_view value) {
  if (!active_) return *this;
  PutKey(key);
  const std::string_view kept = value.substr(0, kValueBytesMax);
  if (format_ == LogFormat::kText && IsPlain(kept)) {
    line_.append(kept);
  } else {
    AppendJsonString(kept, line_);
  }
  return *this;
}

Log& Log::With(std::string_view key, bool value) {
  if (!active_) return *this;
  PutKey(key);
  line_ += value ? "true" : "false";
  return *this;
}

Log& Log::With(std::string_view key, double value) {
  if (!active_) return *this;
  PutKey(key);
  AppendJsonDouble(value, line_);
  return *this;
}

Log& Log::WithSigned(std::string_view key, int64_t value) {
  if (!active_) return *this;
  PutKey(key);
  line_ += std::to_string(value);
  return *this;
}

Log& Log::WithUnsigned(std::string_view key, uint64_t value) {
  if (!active_) return *this;
  PutKey(key);
  line_ += std::to_string(value);
  return *this;
}

}  // namespace sluice::base
