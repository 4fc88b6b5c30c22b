// How far a download is: one line that is painted over on a terminal, a line a file otherwise.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "base/clock.h"

namespace sluice::bin {

// "1.4 GB": decimal units, as the hub shows sizes.
std::string SizeText(int64_t bytes);

// One thread.
class PullProgress {
 public:
  // `to` null: silent. `terminal`: it can paint over a line.
  PullProgress(std::FILE* to, bool terminal) : to_(to), terminal_(terminal) {}
  ~PullProgress() { Clear(); }
  PullProgress(const PullProgress&) = delete;
  PullProgress& operator=(const PullProgress&) = delete;

  // Before the first file: what is to come in all, and what of it is here already.
  void Begin(int64_t bytes, int64_t here);
  void BeginFile(const std::string& name, int64_t bytes, int64_t here);
  void Advance(int64_t bytes);
  // What was counted of the file does not count: it begins anew.
  void Rewind();
  void EndFile();
  // A line of its own.
  void Say(const std::string& line);
  // Takes what is painted away.
  void Clear();

 private:
  void Paint(bool now);

  std::FILE* to_;
  const bool terminal_;
  base::Time begun_;
  base::Time painted_;
  int64_t bytes_ = 0;
  int64_t here_ = 0;
  int64_t fetched_ = 0;  // by this run
  std::string file_;
  int64_t file_bytes_ = 0;
  int64_t file_here_ = 0;
  size_t width_ = 0;  // of what was painted
};

}  // namespace sluice::bin
