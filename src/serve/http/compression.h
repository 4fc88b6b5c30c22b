// gzip and deflate content codings, with a bound on what may come out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::serve {

enum class ContentCoding { kIdentity, kGzip, kDeflate };

// kUnimplemented for a coding that the server does not know. Empty and "identity": kIdentity.
base::Result<ContentCoding> ParseContentCoding(std::string_view header);
// The first coding of an Accept-Encoding header that the server knows and the client does not
// forbid.
ContentCoding PreferredCoding(std::string_view accept_encoding);
std::string_view ContentCodingName(ContentCoding coding);

// kResourceExhausted as soon as more than bytes_max come out, kInvalidArgument for anything that is
// no whole stream.
base::Result<std::string> Decompress(ContentCoding coding, std::string_view bytes,
                                     int64_t bytes_max);
std::string Compress(ContentCoding coding, std::string_view bytes);

}  // namespace sluice::serve
