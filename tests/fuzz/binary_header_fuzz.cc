// The binary-tensor extension: an honest JSON head, and sizes, shapes, types and bytes that the
// input chooses.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "serve/oip/infer_json.h"
#include "serve/oip/tensors.h"

namespace {

// Takes numbers off the front of the input; zeros when it is used up.
struct Bytes {
  const uint8_t* data;
  size_t size;
  uint8_t Next() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  int64_t Number() {
    // Small ones mostly, now and then one at the edge of its type.
    uint8_t kind = Next();
    if (kind < 200) return kind % 24;
    int64_t value = 0;
    for (int i = 0; i < 8; ++i)
      value = static_cast<int64_t>(static_cast<uint64_t>(value) << 8 | Next());
    return value;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  static base::JsonDocument document;
  Bytes bytes{data, size};
  std::string json = "{\"inputs\":[";
  int inputs = 1 + bytes.Next() % 4;
  for (int i = 0; i < inputs; ++i) {
    auto dtype = static_cast<tensor::DType>(bytes.Next() % tensor::kWireTypeCount);
    json += i ? "," : "";
    json += "{\"name\":\"X" + std::to_string(i) + "\",\"datatype\":\"" +
            std::string(DTypeName(dtype)) + "\",\"shape\":[";
    int rank = bytes.Next() % 4;
    for (int d = 0; d < rank; ++d) json += (d ? "," : "") + std::to_string(bytes.Number());
    json += "],\"parameters\":{\"binary_data_size\":" + std::to_string(bytes.Number()) + "}}";
  }
  json += "]}";
  std::string body_text = json + std::string(reinterpret_cast<const char*>(bytes.data), bytes.size);
  size_t body_bytes = body_text.size();
  body_text.append(64, '\0');

  serve::RequestLimits limits;
  limits.tensor_bytes_max = 16 << 20;
  serve::InferBody body;
  body.bytes = std::string_view(body_text).substr(0, body_bytes);
  base::Result<int64_t> head =
      serve::ParseHeaderLength(std::to_string(json.size()), static_cast<int64_t>(body_bytes));
  CHECK(head.ok());
  body.json_bytes = *head;
  base::Result<serve::InferRequest> infer = serve::ParseInferBody(body, limits, document);
  if (!infer.ok()) return 0;
  std::string raw;
  for (const tensor::NamedTensor& input : infer->request->inputs)
    serve::AppendRaw(input.tensor, raw);
  // Accepted means: exactly the bytes that came, in order; a bool may have been made 0 or 1.
  CHECK_EQ(raw.size(), body_bytes - json.size());
  return 0;
}
