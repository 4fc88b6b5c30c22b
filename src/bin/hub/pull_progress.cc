#include "bin/hub/pull_progress.h"

#include <algorithm>
#include <iterator>

namespace sluice::bin {
namespace {

constexpr base::Duration kPaintEvery = base::Duration::Millis(100);
constexpr base::Duration kSayEvery = base::Duration::Seconds(10);

base::Time Now() {
  return base::SystemClock::Get().Now();
}

std::string Left(double seconds) {
  if (!(seconds >= 0) || seconds > 360'000) return "?";
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 100) return std::to_string(whole) + " s";
  return std::to_string(whole / 60) + " min";
}

}  // namespace

std::string SizeText(int64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit > 1 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

void PullProgress::Begin(int64_t bytes, int64_t here) {
  bytes_ = bytes;
  here_ = here;
  fetched_ = 0;
  begun_ = painted_ = Now();
}

void PullProgress::BeginFile(const std::string& name, int64_t bytes, int64_t here) {
  file_ = name;
  file_bytes_ = bytes;
  file_here_ = here;
  Paint(false);
}

void PullProgress::Advance(int64_t bytes) {
  fetched_ += bytes;
  here_ += bytes;
  file_here_ += bytes;
  Paint(false);
}

void PullProgress::Rewind() {
  here_ -= file_here_;
  file_here_ = 0;
}

void PullProgress::EndFile() {
  if (terminal_) return Paint(false);
  Say(file_ + "  " + SizeText(file_bytes_));
}

void PullProgress::Clear() {
  if (width_ > 0) std::fprintf(to_, "\r%*s\r", static_cast<int>(width_), "");
  width_ = 0;
}

void PullProgress::Say(const std::string& line) {
  if (to_ == nullptr) return;
  Clear();
  std::fprintf(to_, "%s\n", line.c_str());
  std::fflush(to_);
}

void PullProgress::Paint(bool now) {
  if (to_ == nullptr || bytes_ == 0) return;
  const base::Time time = Now();
  if (!now && time - painted_ < (terminal_ ? kPaintEvery : kSayEvery)) return;
  painted_ = time;
  const double rate = static_cast<double>(fetched_) / std::max((time - begun_).seconds(), 1e-3);
  const double share = static_cast<double>(here_) / static_cast<double>(bytes_);
  std::string line =
      SizeText(here_) + " of " + SizeText(bytes_) + "  " + SizeText(static_cast<int64_t>(rate)) +
      "/s  " + Left(static_cast<double>(bytes_ - here_) / std::max(rate, 1.0)) + " left  " + file_;
  if (!terminal_) return Say(line);
  constexpr int kBar = 24;
  const int full = std::clamp(static_cast<int>(share * kBar), 0, kBar);
  line = "[" + std::string(static_cast<size_t>(full), '#') +
         std::string(static_cast<size_t>(kBar - full), '.') + "]  " + line;
  const size_t width = std::max(width_, line.size());
  width_ = line.size();
  line.resize(width, ' ');
  std::fprintf(to_, "\r%s", line.c_str());
  std::fflush(to_);
}

}  // namespace sluice::bin
