#include "lm/task/rerank.h"

#include <algorithm>
#include <span>
#include <utility>

#include "lm/request_fields.h"
#include "lm/task/prompt.h"
#include "lm/task/scored_tokens.h"
#include "lm/task/scoring.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

constexpr std::string_view kQuery = "{query}";
constexpr std::string_view kDocument = "{document}";
constexpr size_t kLabelsMax = 16;

base::Result<std::vector<int32_t>> LabelTokens(std::string_view labels, const ModelText& text) {
  std::vector<int32_t> tokens;
  while (true) {
    const size_t end = std::min(labels.find(','), labels.size());
    const std::string label(labels.substr(0, end));
    const base::Result<std::vector<int32_t>> ids = text.Encode(label, 1, false);
    if (!ids.ok() || ids->size() != 1) {
      return base::InvalidArgument("score_labels: expected texts of one token each, got \"" +
                                   label + "\"");
    }
    tokens.push_back(ids->front());
    if (end == labels.size()) break;
    labels.remove_prefix(end + 1);
  }
  if (tokens.size() < 2 || tokens.size() > kLabelsMax) {
    return base::InvalidArgument("score_labels: expected 2 to 16 texts with commas between them");
  }
  return tokens;
}

const tensor::NamedTensor* Find(const engine::Request& request, std::string_view name) {
  for (const tensor::NamedTensor& input : request.inputs) {
    if (input.name == name) return &input;
  }
  return nullptr;
}

// How many tokens all of the lists begin with, one of each left.
size_t CommonTokens(const std::vector<std::vector<int32_t>>& lists) {
  size_t common = lists[0].size() - 1;
  for (const std::vector<int32_t>& list : lists) {
    common = std::min(common, list.size() - 1);
    const auto [end, other] = std::mismatch(
        lists[0].begin(), lists[0].begin() + static_cast<std::ptrdiff_t>(common), list.begin());
    common = static_cast<size_t>(end - lists[0].begin());
  }
  return common;
}

}  // namespace

base::Result<RerankForm> MakeRerankForm(std::string_view pattern, std::string_view labels,
                                        const ModelText& text) {
  const size_t query = pattern.find(kQuery);
  const size_t document = pattern.find(kDocument);
  const bool fits = query != std::string_view::npos && document != std::string_view::npos &&
                    query < document && pattern.rfind(kQuery) == query &&
                    pattern.rfind(kDocument) == document;
  if (!fits) {
    return base::InvalidArgument(
        "rerank_template: expected {query} and behind it {document}, each once");
  }
  RerankForm form;
  form.head = pattern.substr(0, query);
  form.middle = pattern.substr(query + kQuery.size(), document - query - kQuery.size());
  form.tail = pattern.substr(document + kDocument.size());
  form.labels = TRY(LabelTokens(labels, text));
  return form;
}

bool AsksForRanking(const engine::Request& request) {
  return Find(request, kText) != nullptr && Find(request, kItems) != nullptr &&
         Find(request, kLabelTexts) == nullptr && Find(request, kLabelIds) == nullptr;
}

base::Status WriteInForm(const RerankForm& form, const ModelText& text, int64_t length_max,
                         engine::Request& request) {
  const std::string head =
      form.head + std::string(TRY(ReadText(*Find(request, kText)))) + form.middle;
  std::vector<std::vector<int32_t>> lists;
  for (const std::string_view document : TRY(ReadTexts(*Find(request, kItems), kItemsMax))) {
    lists.push_back(TRY(text.Encode(head + std::string(document) + form.tail, length_max)));
    if (lists.back().empty()) return base::InvalidArgument("expected texts of at least one token");
  }
  const size_t common = CommonTokens(lists);
  std::vector<int32_t> items, lengths;
  for (const std::vector<int32_t>& list : lists) {
    items.insert(items.end(), list.begin() + static_cast<std::ptrdiff_t>(common), list.end());
    lengths.push_back(static_cast<int32_t>(list.size() - common));
  }
  std::vector<tensor::NamedTensor> inputs;
  const auto add = [&inputs](const char* name, std::span<const int32_t> ids) {
    inputs.push_back({name, CopiedTensor<int32_t>(tensor::DType::kI32, ids)});
  };
  if (common > 0) add(kInputIds, std::span(lists[0]).first(common));
  add(kItemIds, items);
  add(kItemLengths, lengths);
  add(kLabelIds, form.labels);
  request.inputs = std::move(inputs);
  request.parameters.emplace_back("over", std::string("labels"));
  return base::Ok();
}

}  // namespace sluice::lm
