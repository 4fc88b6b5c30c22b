#include "serve/rank/rerank_request.h"

#include <utility>

namespace sluice::serve {
namespace {

using base::JsonValue;

// A query, which Jina's clients may wrap as a document is.
base::Result<std::string> ReadQuery(const JsonValue& value) {
  if (value.is_object()) {
    const std::optional<JsonValue> text = TRY(value.Find("text"));
    if (text.has_value()) return ReadString("query", *text);
  }
  return ReadString("query", value);
}

base::Result<bool> TakeTei(std::string_view field, const JsonValue& value, RerankRequest& out) {
  if (field == "texts") {
    out.dialect = RerankDialect::kTei;
    out.documents = TRY(ReadDocuments(field, value));
  } else if (field == "raw_scores") {
    if (TRY(ReadFlag(field, value))) {
      out.fields.parameters.emplace_back("activation", std::string("none"));
    }
  } else if (field == "return_text") {
    out.return_documents = TRY(ReadFlag(field, value));
  } else {
    return TakeTruncation(field, value, out.fields);
  }
  return true;
}

}  // namespace

base::Result<RerankRequest> ParseRerank(std::string_view body, RerankDialect path_dialect,
                                        const RequestLimits& limits) {
  RerankRequest request;
  request.dialect = path_dialect;
  std::optional<bool> return_documents;
  bool has_query = false;
  const auto take = [&](std::string_view field, const JsonValue& value) -> base::Result<bool> {
    if (field == "query") {
      request.query = TRY(ReadQuery(value));
      has_query = true;
    } else if (field == "documents") {
      request.documents = TRY(ReadDocuments(field, value));
    } else if (field == "top_n") {
      request.top_n = TRY(ReadInteger(field, value, 1, INT32_MAX));
    } else if (field == "return_documents") {
      return_documents = TRY(ReadFlag(field, value));
    } else if (field == "rank_fields") {
      const std::vector<std::string> fields = TRY(ReadStrings(field, value, kRankedMax));
      if (fields != std::vector<std::string>{"text"}) {
        return base::Unimplemented("'rank_fields' other than text are not supported here");
      }
    } else if (field == "max_chunks_per_doc" || field == "max_tokens_per_doc") {
      return true;  // a document is one piece; what is too long is refused by the engine
    } else {
      return path_dialect == RerankDialect::kCohere ? false : TakeTei(field, value, request);
    }
    return true;
  };
  TRY(ReadBody(body, limits, request.fields, take));
  if (!has_query) return Expected("query", "it to be there");
  if (request.documents.empty()) {
    return Expected(path_dialect == RerankDialect::kCohere ? "documents" : "documents' or 'texts",
                    "it to be there");
  }
  if (request.dialect == RerankDialect::kJina) {
    request.return_documents = return_documents.value_or(true);
  } else if (return_documents.has_value()) {
    request.return_documents = *return_documents;
  }
  return request;
}

InferRequest RerankEngineRequest(const RerankRequest& request) {
  return EngineRequest(
      request.fields, "score",
      {TextTensor("text", {request.query}), TextTensor("items", request.documents)});
}

}  // namespace sluice::serve
