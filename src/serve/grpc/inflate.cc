#include "serve/grpc/inflate.h"

#include <grpc/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <string>
#include <vector>

#include "serve/http/compression.h"

namespace sluice::serve {
namespace {

// The library tells a message's algorithm through its reader only.
class Reader : public grpc::ProtoBufferReader {
 public:
  explicit Reader(grpc::ByteBuffer* message) : ProtoBufferReader(message) {}
  grpc_compression_algorithm algorithm() {
    const grpc_byte_buffer* const buffer = reader()->buffer_in;
    return buffer != nullptr && buffer->type == GRPC_BB_RAW ? buffer->data.raw.compression
                                                            : GRPC_COMPRESS_NONE;
  }
};

}  // namespace

base::Status Inflate(grpc::ByteBuffer& message, int64_t bytes_max) {
  if (!message.Valid()) return base::Ok();
  Reader reader(&message);
  if (!reader.status().ok()) return base::InvalidArgument("the message cannot be read");
  const grpc_compression_algorithm algorithm = reader.algorithm();
  if (algorithm == GRPC_COMPRESS_NONE) return base::Ok();
  std::string packed;
  packed.reserve(message.Length());
  const void* piece = nullptr;
  for (int bytes = 0; reader.Next(&piece, &bytes);) {
    packed.append(static_cast<const char*>(piece), static_cast<size_t>(bytes));
  }
  const ContentCoding coding =
      algorithm == GRPC_COMPRESS_GZIP ? ContentCoding::kGzip : ContentCoding::kDeflate;
  base::Result<std::string> whole = Decompress(coding, packed, bytes_max);
  if (!whole.ok()) return std::move(whole).error();
  const grpc::Slice slice(*whole);
  message = grpc::ByteBuffer(&slice, 1);
  return base::Ok();
}

}  // namespace sluice::serve
