// One error code in each dialect's terms: HTTP status, gRPC status, Triton's words.
#pragma once

#include <string_view>

#include "base/result.h"

namespace sluice::serve {

// Triton's map: CANCELLED is 400 there, refusals for load and deadline are 503 or 504 with the
// reason in a header.
inline int HttpStatusOf(base::Code code) {
  switch (code) {
    case base::Code::kInvalidArgument:
    case base::Code::kAlreadyExists:
    case base::Code::kCancelled:
      return 400;
    case base::Code::kNotFound:
      return 404;
    case base::Code::kPermissionDenied:
      return 403;
    case base::Code::kUnimplemented:
      return 501;
    case base::Code::kResourceExhausted:
    case base::Code::kUnavailable:
      return 503;
    case base::Code::kDeadlineExceeded:
      return 504;
    case base::Code::kInternal:
      return 500;
  }
  return 500;
}

// The numbers of grpc::StatusCode.
inline int GrpcStatusOf(base::Code code) {
  switch (code) {
    case base::Code::kCancelled:
      return 1;
    case base::Code::kInvalidArgument:
      return 3;
    case base::Code::kDeadlineExceeded:
      return 4;
    case base::Code::kNotFound:
      return 5;
    case base::Code::kAlreadyExists:
      return 6;
    case base::Code::kPermissionDenied:
      return 7;
    case base::Code::kResourceExhausted:
      return 8;
    case base::Code::kUnimplemented:
      return 12;
    case base::Code::kInternal:
      return 13;
    case base::Code::kUnavailable:
      return 14;
  }
  return 13;
}

inline std::string_view HttpReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Payload Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Error" : "Internal Server Error";
  }
}

}  // namespace sluice::serve
