#include "serve/rank/answers.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "serve/rank/gathered_replies.h"

namespace sluice::serve {
namespace {

using base::JsonWriter;
using tensor::DType;
using tensor::Tensor;

int64_t SecondsSince1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string NewId(const char* prefix) {
  static std::atomic<uint64_t> last{0};
  return prefix + std::to_string(SecondsSince1970()) + "-" + std::to_string(++last);
}

base::Error Missing(const char* output) {
  return base::Internal("the model gave no output " + std::string(output) + " of the right type");
}

// Row `i` of a matrix of floats.
std::span<const float> RowOf(const Tensor& matrix, int64_t i) {
  const auto columns = static_cast<size_t>(matrix.shape[1]);
  return matrix.view().span<float>().subspan(static_cast<size_t>(i) * columns, columns);
}

base::Result<const Tensor*> ScoresOf(const engine::Reply& reply, bool several) {
  const Tensor* scores = FindOutput(reply, "scores", DType::kF32, 2);
  if (scores == nullptr || scores->shape[1] < 1) return Missing("scores");
  if (scores->shape[1] > 1 && !several) {
    return base::InvalidArgument("the model tells " + std::to_string(scores->shape[1]) +
                                 " labels apart; a single score is expected here");
  }
  return scores;
}

void WriteUsage(const std::vector<engine::Reply>& replies, JsonWriter& writer) {
  const int64_t prompt = SumOf(replies, "prompt_tokens");
  writer.Key("usage").BeginObject().Key("prompt_tokens").Int(prompt);
  writer.Key("total_tokens").Int(prompt).Key("completion_tokens").Int(0);
  writer.Key("prompt_tokens_details").BeginObject().Key("cached_tokens");
  writer.Int(SumOf(replies, "cached_tokens")).EndObject().EndObject();
}

void WriteDocument(const RerankRequest& request, size_t i, JsonWriter& writer) {
  if (!request.return_documents) return;
  writer.Key("document").BeginObject().Key("text").String(request.documents[i]).EndObject();
}

// The logprobs of items' tokens, where they were asked for: of each item in the request's order.
struct ItemLogprobs {
  std::span<const float> all;
  std::vector<size_t> begins;  // and the end of the last one
};
base::Result<ItemLogprobs> ItemLogprobsOf(const engine::Reply& reply) {
  ItemLogprobs out;
  const Tensor* logprobs = FindOutput(reply, "item_logprobs", DType::kF32, 1);
  if (logprobs == nullptr) return out;
  const Tensor* lengths = FindOutput(reply, "item_lengths", DType::kI32, 1);
  if (lengths == nullptr) return Missing("item_lengths");
  out.all = logprobs->view().span<float>();
  out.begins.push_back(0);
  for (const int32_t length : lengths->view().span<int32_t>()) {
    out.begins.push_back(out.begins.back() + static_cast<size_t>(std::max(length, 0)));
  }
  if (out.begins.back() != out.all.size()) return Missing("item_lengths");
  return out;
}

// Nothing is known of the first token of all: null.
void WriteLogprobs(std::span<const float> logprobs, JsonWriter& writer) {
  writer.Key("token_logprobs").BeginArray();
  for (const float logprob : logprobs) {
    if (logprob == logprob) {
      writer.Float(logprob);
    } else {
      writer.Null();
    }
  }
  writer.EndArray();
}

}  // namespace

std::string EncodeBase64(std::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - at);
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i) {
      three = three << 8 | (i < have ? static_cast<uint8_t>(bytes[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      out += i <= have ? kAlphabet[three >> (18 - 6 * i) & 63U] : '=';
    }
  }
  return out;
}

base::Result<std::string> WriteEmbeddings(const std::vector<engine::Reply>& replies,
                                          EmbeddingDialect dialect, const std::string& model,
                                          bool base64) {
  const Tensor* vectors = FindOutput(replies.front(), "embedding", DType::kF32, 2);
  if (vectors == nullptr) return Missing("embedding");
  const bool tei = dialect == EmbeddingDialect::kTei;
  std::string json;
  json.reserve(static_cast<size_t>(vectors->shape.elements()) * 12 + 256);
  JsonWriter writer(json);
  if (!tei) writer.BeginObject().Key("object").String("list").Key("data");
  writer.BeginArray();
  for (int64_t i = 0; i < vectors->shape[0]; ++i) {
    const std::span<const float> row = RowOf(*vectors, i);
    if (!tei) {
      writer.BeginObject().Key("object").String("embedding").Key("index").Int(i);
      writer.Key("embedding");
    }
    if (base64) {
      writer.String(
          EncodeBase64({reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)}));
    } else {
      writer.Numbers<float>(row);
    }
    if (!tei) writer.EndObject();
  }
  writer.EndArray();
  if (tei) return json;
  const int64_t tokens = SumOf(replies, "prompt_tokens");
  writer.Key("model").String(model).Key("usage").BeginObject().Key("prompt_tokens").Int(tokens);
  writer.Key("total_tokens").Int(tokens).EndObject().EndObject();
  return json;
}

base::Result<std::string> WriteScores(const std::vector<engine::Reply>& replies,
                                      const std::string& model, bool prefixed) {
  std::string json;
  JsonWriter writer(json);
  writer.BeginObject().Key("id").String(NewId("score-")).Key("object").String("list");
  writer.Key("created").Int(SecondsSince1970()).Key("model").String(model);
  writer.Key("data").BeginArray();
  int64_t index = 0;
  for (const engine::Reply& reply : replies) {
    const Tensor& scores = *TRY(ScoresOf(reply, prefixed));
    const Tensor* order = FindOutput(reply, "top_items", DType::kI32, 1);
    if (order != nullptr && order->shape[0] != scores.shape[0]) return Missing("top_items");
    const ItemLogprobs logprobs = TRY(ItemLogprobsOf(reply));
    for (int64_t i = 0; i < scores.shape[0]; ++i) {
      const std::span<const float> row = RowOf(scores, i);
      const int64_t item = order == nullptr ? index : order->view().as<int32_t>()[i];
      const auto own = static_cast<size_t>(order == nullptr ? i : item);
      ++index;
      writer.BeginObject().Key("index").Int(item).Key("object").String("score");
      writer.Key("score").Float(row[0]);
      if (row.size() > 1) writer.Key("scores").Numbers<float>(row);
      if (own + 1 < logprobs.begins.size()) {
        const size_t begin = logprobs.begins[own];
        WriteLogprobs(logprobs.all.subspan(begin, logprobs.begins[own + 1] - begin), writer);
      }
      writer.EndObject();
    }
  }
  writer.EndArray();
  WriteUsage(replies, writer);
  writer.EndObject();
  return json;
}

base::Result<std::string> WriteRanking(const std::vector<engine::Reply>& replies,
                                       const RerankRequest& request) {
  const Tensor& scores = *TRY(ScoresOf(replies.front(), false));
  const size_t count = request.documents.size();
  if (scores.shape[0] != static_cast<int64_t>(count)) return Missing("scores");
  const std::span<const float> relevance = scores.view().span<float>();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  // What is no number comes last, equals in the order in which they came.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return relevance[a] > relevance[b] ||
           (relevance[a] == relevance[a] && relevance[b] != relevance[b]);
  });
  if (request.top_n > 0) order.resize(std::min(count, static_cast<size_t>(request.top_n)));
  std::string json;
  JsonWriter writer(json);
  if (request.dialect == RerankDialect::kTei) {
    writer.BeginArray();
    for (const size_t i : order) {
      writer.BeginObject().Key("index").Uint(i);
      if (request.return_documents) writer.Key("text").String(request.documents[i]);
      writer.Key("score").Float(relevance[i]).EndObject();
    }
    writer.EndArray();
    return json;
  }
  const bool cohere = request.dialect == RerankDialect::kCohere;
  writer.BeginObject().Key("id").String(NewId("rerank-"));
  if (!cohere) writer.Key("object").String("list");
  writer.Key("model").String(request.fields.model).Key("results").BeginArray();
  for (const size_t i : order) {
    writer.BeginObject().Key("index").Uint(i);
    WriteDocument(request, i, writer);
    writer.Key("relevance_score").Float(relevance[i]).EndObject();
  }
  writer.EndArray();
  const int64_t tokens = SumOf(replies, "prompt_tokens");
  if (!cohere) {
    writer.Key("usage").BeginObject().Key("prompt_tokens").Int(tokens);
    writer.Key("total_tokens").Int(tokens).EndObject();
  }
  writer.Key("meta").BeginObject().Key("api_version").BeginObject().Key("version");
  writer.String(cohere ? "2" : "1").EndObject();
  writer.Key("billed_units").BeginObject().Key("search_units").Int(1).EndObject();
  writer.Key("tokens").BeginObject().Key("input_tokens").Int(tokens).EndObject();
  writer.EndObject().EndObject();
  return json;
}

namespace {

// TEI: a list of objects a text.
base::Status WriteTeiTokens(const engine::Reply& reply, JsonWriter& writer) {
  const Tensor* ids = FindOutput(reply, "output_ids", DType::kI32, 1);
  const Tensor* texts = FindOutput(reply, "token_texts", DType::kBytes, 1);
  const Tensor* special = FindOutput(reply, "special_tokens", DType::kBool, 1);
  const Tensor* offsets = FindOutput(reply, "offsets", DType::kI32, 2);
  if (ids == nullptr || texts == nullptr || texts->shape != ids->shape)
    return Missing("output_ids");
  if (special != nullptr && special->shape != ids->shape) return Missing("special_tokens");
  const bool placed = offsets != nullptr && offsets->shape == tensor::Shape({ids->shape[0], 2});
  writer.BeginArray();
  for (int64_t i = 0; i < ids->shape[0]; ++i) {
    writer.BeginObject().Key("id").Int(ids->view().as<int32_t>()[i]);
    writer.Key("text").String(texts->view().as<std::string_view>()[i]);
    const bool is_special = special != nullptr && special->view().as<bool>()[i];
    writer.Key("special").Bool(is_special);
    const bool tells = placed && !is_special;
    for (int64_t side = 0; side < 2; ++side) {
      writer.Key(side == 0 ? "start" : "stop");
      if (tells) {
        writer.Int(offsets->view().as<int32_t>()[2 * i + side]);
      } else {
        writer.Null();
      }
    }
    writer.EndObject();
  }
  writer.EndArray();
  return base::Ok();
}

}  // namespace

base::Result<std::string> WriteTokens(const std::vector<engine::Reply>& replies,
                                      TokenAnswerShape shape) {
  std::string json;
  JsonWriter writer(json);
  if (shape.tei) {
    writer.BeginArray();
    for (const engine::Reply& reply : replies) TRY(WriteTeiTokens(reply, writer));
    writer.EndArray();
    return json;
  }
  const engine::Reply& reply = replies.front();
  const Tensor* ids = FindOutput(reply, "output_ids", DType::kI32, 1);
  if (ids == nullptr) return Missing("output_ids");
  writer.BeginObject().Key("count").Int(ids->shape[0]);
  writer.Key("max_model_len").Int(NumberOf(reply, "max_model_len"));
  writer.Key("tokens").Numbers<int32_t>(ids->view().span<int32_t>());
  writer.Key("token_strs");
  const Tensor* texts = FindOutput(reply, "token_texts", DType::kBytes, 1);
  if (shape.token_texts && texts != nullptr) {
    writer.BeginArray();
    for (const std::string_view text : texts->view().span<std::string_view>()) writer.String(text);
    writer.EndArray();
  } else {
    writer.Null();
  }
  writer.EndObject();
  return json;
}

base::Result<std::string> WriteTexts(const std::vector<engine::Reply>& replies, bool tei) {
  std::string json;
  JsonWriter writer(json);
  if (tei) writer.BeginArray();
  for (const engine::Reply& reply : replies) {
    const Tensor* text = FindOutput(reply, "text", DType::kBytes, 1);
    if (text == nullptr || text->shape[0] != 1) return Missing("text");
    if (!tei) writer.BeginObject().Key("prompt");
    writer.String(text->view().as<std::string_view>()[0]);
    if (!tei) writer.EndObject();
  }
  if (tei) writer.EndArray();
  return json;
}

}  // namespace sluice::serve
