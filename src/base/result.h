// Result<T>, Status and TRY: how input, files, limits and deadlines fail. Our own bugs are CHECKs
// (check.h).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace sluice::base {

// Why something failed; each maps to one HTTP status and one gRPC status (serve/status_codes.h).
enum class Code {
  kInvalidArgument,    // the request or the file is wrong: 400
  kNotFound,           // no such model, version, region: 404
  kAlreadyExists,      // 400, as Triton
  kPermissionDenied,   // 403
  kUnimplemented,      // a feature named but not built: 501
  kResourceExhausted,  // a queue or a limit is full: 429 or 503
  kUnavailable,        // not ready, draining, unloading: 503
  kDeadlineExceeded,   // could not or did not finish in time: 504
  kCancelled,          // the client went away: 499
  kInternal,           // a failure that is not the client's: 500
};

// "INVALID_ARGUMENT" and so on: the gRPC name of the code.
const char* CodeName(Code code);

struct [[nodiscard]] Error {
  Code code = Code::kInternal;
  std::string message;  // what was expected, what came, and where
};

inline Error InvalidArgument(std::string m) {
  return {Code::kInvalidArgument, std::move(m)};
}
inline Error NotFound(std::string m) {
  return {Code::kNotFound, std::move(m)};
}
inline Error AlreadyExists(std::string m) {
  return {Code::kAlreadyExists, std::move(m)};
}
inline Error PermissionDenied(std::string m) {
  return {Code::kPermissionDenied, std::move(m)};
}
inline Error Unimplemented(std::string m) {
  return {Code::kUnimplemented, std::move(m)};
}
inline Error ResourceExhausted(std::string m) {
  return {Code::kResourceExhausted, std::move(m)};
}
inline Error Unavailable(std::string m) {
  return {Code::kUnavailable, std::move(m)};
}
inline Error DeadlineExceeded(std::string m) {
  return {Code::kDeadlineExceeded, std::move(m)};
}
inline Error Cancelled(std::string m) {
  return {Code::kCancelled, std::move(m)};
}
inline Error Internal(std::string m) {
  return {Code::kInternal, std::move(m)};
}

// A value or an Error. Reading the wrong side is our bug and aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return held_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    CHECK(ok()) << error().message;
    return std::get<0>(held_);
  }
  const T& value() const& {
    CHECK(ok()) << error().message;
    return std::get<0>(held_);
  }
  T&& value() && {
    CHECK(ok()) << error().message;
    return std::get<0>(std::move(held_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return std::get<1>(held_); }
  Error&& error() && { return std::get<1>(std::move(held_)); }

 private:
  std::variant<T, Error> held_;
};

// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { CHECK(ok()) << error_->message; }
  void operator*() const { value(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status Ok() {
  return {};
}

}  // namespace sluice::base

// TRY(expression): the value of a Result, or return its Error from the enclosing function. A
// statement expression, which g++, clang and nvcc all take.
#define TRY(expression)                                           \
  __extension__({                                                 \
    auto try_result_ = (expression);                              \
    if (!try_result_.ok()) return std::move(try_result_).error(); \
    *std::move(try_result_);                                      \
  })
