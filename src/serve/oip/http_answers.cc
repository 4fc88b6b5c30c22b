#include "serve/oip/http_answers.h"

#include "serve/http/compression.h"
#include "serve/oip/infer_response.h"
#include "serve/status_codes.h"

namespace sluice::serve {

namespace {
// Below this a coding costs more than it saves.
constexpr size_t kCompressFrom = 1024;
}  // namespace

HttpResponse ErrorAnswer(int status, std::string_view text) {
  HttpResponse response;
  response.status = status;
  response.body = ErrorJson(text);
  return response;
}

HttpResponse ErrorAnswer(const base::Error& error, std::string_view reason) {
  HttpResponse response = ErrorAnswer(HttpStatusOf(error.code), error.message);
  if (!reason.empty()) response.headers = "x-sluice-reason: " + std::string(reason) + "\r\n";
  return response;
}

HttpResponse JsonAnswer(std::string json) {
  HttpResponse response;
  response.body = std::move(json);
  return response;
}

HttpResponse EmptyAnswer(int status) {
  HttpResponse response;
  response.status = status;
  response.content_type = {};
  return response;
}

void CompressAnswer(std::string_view accept_encoding, HttpResponse& response) {
  if (accept_encoding.empty()) return;
  size_t bytes = response.body.size();
  for (const tensor::Buffer& blob : response.blobs) bytes += static_cast<size_t>(blob.bytes());
  if (bytes < kCompressFrom) return;
  ContentCoding coding = PreferredCoding(accept_encoding);
  if (coding == ContentCoding::kIdentity) return;
  for (const tensor::Buffer& blob : response.blobs) {
    response.body.append(reinterpret_cast<const char*>(blob.data()),
                         static_cast<size_t>(blob.bytes()));
  }
  response.blobs.clear();
  response.body = Compress(coding, response.body);
  response.headers += "Content-Encoding: ";
  response.headers += ContentCodingName(coding);
  response.headers += "\r\n";
}

}  // namespace sluice::serve
