// The body of an inference request over HTTP: JSON, binary tensors behind it, the raw form. The
// first two bytes choose how much of the input is JSON.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.h"
#include "serve/oip/infer_json.h"
#include "serve/oip/infer_request.h"
#include "serve/oip/tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  static base::JsonDocument document;
  if (size < 2) return 0;
  uint16_t split;
  std::memcpy(&split, data, sizeof split);
  std::string text(reinterpret_cast<const char*>(data) + 2, size - 2);
  size_t bytes = text.size();
  text.append(64, '\0');
  serve::RequestLimits limits;
  limits.tensor_bytes_max = 16 << 20;
  limits.tensor_elements_max = 1 << 20;
  serve::InferBody body;
  body.bytes = std::string_view(text).substr(0, bytes);
  body.json_bytes = split > bytes ? -1 : static_cast<int64_t>(split);

  engine::Description description;
  description.model = std::string("model");
  description.inputs = {{"X", tensor::DType::kF32, {-1, 4}, false}};
  description.outputs = {{"Y", tensor::DType::kF32, {-1, 4}, false}};
  description.batch_rows_max = 8;
  auto look = [&](base::Result<serve::InferRequest> infer) {
    if (!infer.ok()) return;
    for (const tensor::NamedTensor& input : infer->request->inputs) {
      // What was accepted is whole: every byte of it can be read.
      std::string raw;
      serve::AppendRaw(input.tensor, raw);
      CHECK_EQ(static_cast<int64_t>(raw.size()), serve::RawBytes(input.tensor));
      base::Result<tensor::Tensor> back =
          serve::TensorFromRaw(input.tensor.dtype, input.tensor.shape, raw, {}, input.name);
      CHECK(back.ok()) << back.error().message;
    }
    base::Status checked = serve::CheckAgainstModel(description, *infer);
    static_cast<void>(checked.ok());
  };
  look(serve::ParseInferBody(body, limits, document));
  look(serve::RawInferBody(body, description, limits));
  return 0;
}
