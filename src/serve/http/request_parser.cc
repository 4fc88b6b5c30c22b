#include "serve/http/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <optional>

namespace sluice::serve {

namespace http = boost::beast::http;
using ErrorCode = boost::beast::error_code;
using BeastView = boost::beast::string_view;

namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
std::string_view View(BeastView s) {
  return {s.data(), s.size()};
}

}  // namespace

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

std::string_view HttpRequest::header(std::string_view name) const {
  for (const HttpHeader& h : headers) {
    if (EqualsIgnoringCase(h.name, name)) return h.value;
  }
  return {};
}

bool HttpRequest::has_header(std::string_view name) const {
  for (const HttpHeader& h : headers) {
    if (EqualsIgnoringCase(h.name, name)) return true;
  }
  return false;
}

size_t FindHeadEnd(std::string_view bytes, size_t from) {
  // The end may begin up to three bytes before what was searched already.
  size_t at = bytes.find("\r\n\r\n", from < 3 ? 0 : from - 3);
  return at == std::string_view::npos ? at : at + 4;
}

// Beast's tokenizer with our own sink: views and counters where its own fields container would
// allocate.
class RequestParser::Beast {
 public:
  // One request's parse. Beast's parser has no reset, so each request builds one in place.
  class Sink final : public http::basic_parser<true> {
   public:
    Sink(const HttpLimits& limits, HttpRequest* request, std::string_view head, std::string* body,
         HttpFault* fault)
        : limits_(limits), request_(request), head_(head), body_(body), fault_(fault) {
      header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
      body_limit(static_cast<std::uint64_t>(limits.body_bytes_max));
    }
    // The head is parsed: views into the request's buffer must not be touched any more.
    void Detach() { request_ = nullptr; }
    bool expects_continue = false;

   private:
    void Refuse(int status, std::string message, ErrorCode& ec) {
      *fault_ = {status, std::move(message)};
      ec = http::error::bad_value;
    }
    bool Inside(std::string_view s) const {
      return s.empty() ||
             (s.data() >= head_.data() && s.data() + s.size() <= head_.data() + head_.size());
    }

    void on_request_impl(http::verb, BeastView method, BeastView target, int version,
                         ErrorCode& ec) override {
      if (version != 11 && version != 10) return Refuse(505, "expected HTTP/1.0 or HTTP/1.1", ec);
      if (static_cast<int64_t>(target.size()) > limits_.target_bytes_max) {
        return Refuse(414,
                      "the request target is longer than " +
                          std::to_string(limits_.target_bytes_max) + " bytes",
                      ec);
      }
      request_->method = View(method);
      request_->target = View(target);
      request_->takes_chunks = version == 11;
    }
    void on_response_impl(int, BeastView, int, ErrorCode&) override {}
    void on_field_impl(http::field name, BeastView name_text, BeastView value,
                       ErrorCode& ec) override {
      if (++field_count_ > limits_.header_count_max) {
        return Refuse(431, "more than " + std::to_string(limits_.header_count_max) + " headers",
                      ec);
      }
      if (request_ == nullptr) return;  // a trailer: counted, not kept
      if (!Inside(View(value))) return Refuse(400, "folded header lines are not accepted", ec);
      if (name == http::field::expect) {
        if (!EqualsIgnoringCase(View(value), "100-continue")) {
          return Refuse(417, "the only expectation that can be met is 100-continue", ec);
        }
        expects_continue = true;
      }
      request_->headers.push_back({View(name_text), View(value)});
    }
    void on_header_impl(ErrorCode&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
    std::size_t on_body_impl(BeastView, ErrorCode& ec) override {
      Refuse(400, "unexpected body bytes", ec);
      return 0;
    }
    void on_chunk_header_impl(std::uint64_t, BeastView, ErrorCode& ec) override {
      if (++chunk_count_ > limits_.chunk_count_max) {
        Refuse(413, "more than " + std::to_string(limits_.chunk_count_max) + " chunks in one body",
               ec);
      }
    }
    std::size_t on_chunk_body_impl(std::uint64_t, BeastView bytes, ErrorCode& ec) override {
      if (static_cast<int64_t>(body_->size() + bytes.size()) > limits_.body_bytes_max) {
        Refuse(413, "the body is longer than " + std::to_string(limits_.body_bytes_max) + " bytes",
               ec);
        return 0;
      }
      body_->append(bytes.data(), bytes.size());
      return bytes.size();
    }
    void on_finish_impl(ErrorCode&) override {}

    const HttpLimits& limits_;
    HttpRequest* request_;
    std::string_view head_;
    std::string* body_;
    HttpFault* fault_;
    int64_t field_count_ = 0;
    int64_t chunk_count_ = 0;
  };

  HttpFault FaultOf(const ErrorCode& ec) {
    if (fault.status != 0) return fault;
    if (ec == http::error::body_limit) return {413, "the body is longer than the server takes"};
    if (ec == http::error::header_limit) return {431, "the head is longer than the server takes"};
    if (ec == http::error::bad_version) return {505, "expected HTTP/1.0 or HTTP/1.1"};
    return {400, "malformed HTTP: " + ec.message()};
  }

  std::optional<Sink> sink;
  std::string body;
  HttpFault fault;
};

RequestParser::RequestParser(const HttpLimits& limits)
    : limits_(limits), beast_(std::make_unique<Beast>()) {}
RequestParser::~RequestParser() = default;

HttpFault RequestParser::ParseHead(std::string_view head, HttpRequest& request) {
  request.headers.clear();
  beast_->body.clear();
  beast_->fault = {};
  beast_->sink.emplace(limits_, &request, head, &beast_->body, &beast_->fault);
  ErrorCode ec;
  beast_->sink->put(boost::asio::const_buffer(head.data(), head.size()), ec);
  // From here on the sink must not write through `request`, whose views die with the head.
  if (ec) return beast_->FaultOf(ec);
  if (!beast_->sink->is_header_done())
    return {400, "malformed HTTP: the head does not end where it seemed to"};
  request.keep_alive = beast_->sink->keep_alive();
  beast_->sink->Detach();
  // Any other coding would leave it open where the body ends.
  std::string_view transfer = request.header("Transfer-Encoding");
  if (!transfer.empty() && !EqualsIgnoringCase(transfer, "chunked")) {
    return {501, "Transfer-Encoding: expected chunked"};
  }
  beast_->sink->eager(true);
  if (content_length() > limits_.body_bytes_max) {
    return {413, "the body is longer than " + std::to_string(limits_.body_bytes_max) + " bytes"};
  }
  return {};
}

bool RequestParser::chunked() const {
  return beast_->sink->chunked();
}

int64_t RequestParser::content_length() const {
  auto length = beast_->sink->content_length();
  if (!length.has_value()) return 0;
  if (*length > static_cast<std::uint64_t>(INT64_MAX)) return INT64_MAX;
  return static_cast<int64_t>(*length);
}

bool RequestParser::expects_continue() const {
  return beast_->sink->expects_continue;
}

HttpFault RequestParser::FeedChunked(std::string_view bytes, size_t& consumed) {
  consumed = 0;
  ErrorCode ec;
  while (consumed < bytes.size() && !beast_->sink->is_done()) {
    std::string_view rest = bytes.substr(consumed);
    // A body whose first chunk is its last is at least "0" CRLF CRLF; asked a second time with
    // less, Beast 1.81 fails an assertion.
    if (rest.front() == '0' && rest.size() < 5) return {};
    size_t took = beast_->sink->put(boost::asio::const_buffer(rest.data(), rest.size()), ec);
    consumed += took;
    if (ec == http::error::need_more || (!ec && took == 0)) return {};
    if (ec) return beast_->FaultOf(ec);
  }
  return {};
}

bool RequestParser::done() const {
  return beast_->sink->is_done();
}
std::string& RequestParser::body() {
  return beast_->body;
}

}  // namespace sluice::serve
