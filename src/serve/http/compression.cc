#include "serve/http/compression.h"

#include <zlib.h>

#include <algorithm>

#include "serve/http/message.h"

namespace sluice::serve {

namespace {

constexpr int kGzipWindow = 15 + 16;
constexpr int kZlibWindow = 15;
constexpr size_t kPiece = 64 << 10;
// Level 1: the answer's latency counts, not its last bytes.
constexpr int kLevel = 1;

int WindowOf(ContentCoding coding) {
  return coding == ContentCoding::kGzip ? kGzipWindow : kZlibWindow;
}

std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

}  // namespace

std::string_view ContentCodingName(ContentCoding coding) {
  return coding == ContentCoding::kGzip      ? "gzip"
         : coding == ContentCoding::kDeflate ? "deflate"
                                             : "identity";
}

base::Result<ContentCoding> ParseContentCoding(std::string_view header) {
  header = Trim(header);
  if (header.empty() || EqualsIgnoringCase(header, "identity")) return ContentCoding::kIdentity;
  if (EqualsIgnoringCase(header, "gzip")) return ContentCoding::kGzip;
  if (EqualsIgnoringCase(header, "deflate")) return ContentCoding::kDeflate;
  return base::Unimplemented("Content-Encoding: expected gzip or deflate, got '" +
                             std::string(header.substr(0, 64)) + "'");
}

ContentCoding PreferredCoding(std::string_view accept) {
  while (!accept.empty()) {
    size_t comma = accept.find(',');
    std::string_view item = Trim(accept.substr(0, comma));
    accept = comma == std::string_view::npos ? std::string_view{} : accept.substr(comma + 1);
    size_t semicolon = item.find(';');
    std::string_view name = Trim(item.substr(0, semicolon));
    std::string_view weight =
        semicolon == std::string_view::npos ? std::string_view{} : Trim(item.substr(semicolon + 1));
    // "q=0", "q=0.0": forbidden.
    bool forbidden =
        weight.starts_with("q=0") && weight.find_first_of("123456789") == std::string_view::npos;
    if (forbidden) continue;
    if (EqualsIgnoringCase(name, "gzip")) return ContentCoding::kGzip;
    if (EqualsIgnoringCase(name, "deflate")) return ContentCoding::kDeflate;
  }
  return ContentCoding::kIdentity;
}

base::Result<std::string> Decompress(ContentCoding coding, std::string_view bytes,
                                     int64_t bytes_max) {
  if (coding == ContentCoding::kIdentity) return std::string(bytes);
  z_stream stream{};
  if (inflateInit2(&stream, WindowOf(coding)) != Z_OK)
    return base::Internal("cannot start decompression");
  std::string out;
  int code = Z_OK;
  size_t taken = 0;
  while (code == Z_OK) {
    if (stream.avail_in == 0 && taken < bytes.size()) {
      size_t piece = std::min<size_t>(bytes.size() - taken, 1u << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + taken));
      stream.avail_in = static_cast<uInt>(piece);
      taken += piece;
    }
    size_t have = out.size();
    // Output grows with what came out, so a bomb costs its bound and no more.
    out.resize(have + std::min(std::max(have, kPiece), static_cast<size_t>(bytes_max) + 1 - have));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + have);
    stream.avail_out = static_cast<uInt>(std::min<size_t>(out.size() - have, 1u << 30));
    size_t room = stream.avail_out;
    code = inflate(&stream, Z_NO_FLUSH);
    out.resize(have + room - stream.avail_out);
    if (static_cast<int64_t>(out.size()) > bytes_max) {
      inflateEnd(&stream);
      return base::ResourceExhausted("the decompressed body is longer than " +
                                     std::to_string(bytes_max) + " bytes");
    }
  }
  bool whole = code == Z_STREAM_END && stream.avail_in == 0 && taken == bytes.size();
  inflateEnd(&stream);
  if (!whole)
    return base::InvalidArgument("the body is no whole " + std::string(ContentCodingName(coding)) +
                                 " stream");
  return out;
}

std::string Compress(ContentCoding coding, std::string_view bytes) {
  if (coding == ContentCoding::kIdentity) return std::string(bytes);
  z_stream stream{};
  CHECK(deflateInit2(&stream, kLevel, Z_DEFLATED, WindowOf(coding), 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace sluice::serve
