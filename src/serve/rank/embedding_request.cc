#include "serve/rank/embedding_request.h"

#include <utility>

namespace sluice::serve {
namespace {

using base::JsonValue;

constexpr int64_t kDimensionsMax = 1 << 20;

// A text, texts, token ids, or arrays of them.
base::Status TakeInput(std::string_view field, const JsonValue& value, const RequestLimits& limits,
                       EmbeddingRequest& out) {
  if (!out.inputs.empty()) return Expected(field, "it once");
  bool strings = value.is_string();
  bool arrays = false;
  if (value.is_array()) {
    // What the first element is decides; the others are checked as they are read.
    bool first = true;
    const auto look = [&](const JsonValue& element) -> base::Status {
      if (std::exchange(first, false)) {
        strings = element.is_string();
        arrays = element.is_array();
      }
      return base::Ok();
    };
    TRY(value.ForEachElement(look));
  }
  if (strings) {
    out.inputs.push_back(TextTensor("text", TRY(ReadStrings(field, value, kRankedMax))));
  } else if (arrays) {
    tensor::NamedTensor ids{"input_ids", {}}, lengths{"lengths", {}};
    TRY(ReadIdLists(field, value, kRankedMax, limits, ids, lengths));
    out.inputs.push_back(std::move(ids));
    out.inputs.push_back(std::move(lengths));
  } else {
    out.inputs.push_back({"input_ids", TRY(ReadIds(field, value, limits))});
  }
  return base::Ok();
}

base::Result<bool> TakeOpenAi(std::string_view field, const JsonValue& value,
                              EmbeddingRequest& out) {
  if (field == "encoding_format") {
    const std::string format = TRY(ReadString(field, value));
    if (format != "float" && format != "base64") return Expected(field, "float or base64");
    out.base64 = format == "base64";
    return true;
  }
  return false;
}

}  // namespace

base::Result<EmbeddingRequest> ParseEmbedding(std::string_view body, EmbeddingDialect dialect,
                                              const RequestLimits& limits) {
  const bool tei = dialect == EmbeddingDialect::kTei;
  const std::string_view texts = tei ? "inputs" : "input";
  EmbeddingRequest request;
  const auto take = [&](std::string_view field, const JsonValue& value) -> base::Result<bool> {
    if (field == texts) {
      TRY(TakeInput(field, value, limits, request));
    } else if (field == "dimensions") {
      request.fields.parameters.emplace_back(field,
                                             TRY(ReadInteger(field, value, 1, kDimensionsMax)));
    } else if (field == "normalize") {
      request.fields.parameters.emplace_back(field, TRY(ReadFlag(field, value)));
    } else if (field == "prompt_name") {
      request.fields.parameters.emplace_back(field, TRY(ReadString(field, value)));
    } else if (tei) {
      return TakeTruncation(field, value, request.fields);
    } else {
      return TakeOpenAi(field, value, request);
    }
    return true;
  };
  // TEI refuses what is too long unless it is asked to cut it.
  if (tei) request.fields.parameters.emplace_back("truncate", false);
  TRY(ReadBody(body, limits, request.fields, take));
  if (request.inputs.empty()) return Expected(texts, "it to be there");
  return request;
}

}  // namespace sluice::serve
