// CHECK and DCHECK: for our own bugs only. What a client sends or a file contains is never checked
// here; see result.h.
#pragma once

#include <sstream>
#include <string>

namespace sluice::base {

// Prints "file:line: CHECK failed: text" to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const std::string& text);

// Collects the message streamed behind a failed CHECK and aborts when the statement ends.
class CheckMessage {
 public:
  CheckMessage(const char* file, int line, const char* condition) : file_(file), line_(line) {
    stream_ << condition << " ";
  }
  [[noreturn]] ~CheckMessage() { CheckFailed(file_, line_, stream_.str()); }
  std::ostream& stream() { return stream_; }

 private:
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

struct CheckVoidify {
  void operator&(std::ostream&) const {}
};

}  // namespace sluice::base

#define CHECK(condition)                 \
  (__builtin_expect(!!(condition), 1))   \
      ? (void)0                          \
      : ::sluice::base::CheckVoidify() & \
            ::sluice::base::CheckMessage(__FILE__, __LINE__, #condition).stream()
#define CHECK_OP(a, op, b) CHECK((a)op(b)) << "(" << (a) << " " #op " " << (b) << ") "
#define CHECK_EQ(a, b) CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP(a, !=, b)
#define CHECK_LE(a, b) CHECK_OP(a, <=, b)
#define CHECK_LT(a, b) CHECK_OP(a, <, b)
#define CHECK_GE(a, b) CHECK_OP(a, >=, b)
#define CHECK_GT(a, b) CHECK_OP(a, >, b)
#ifdef NDEBUG
#define DCHECK(condition) CHECK(true || (condition))
#else
#define DCHECK(condition) CHECK(condition)
#endif
