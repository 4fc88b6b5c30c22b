#include "lm/task/rerank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lm/task/prompt.h"
#include "lm/task/scoring.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

using testing::HasSubstr;

// Every lower letter is a token, and "ab" is one more.
std::shared_ptr<const ModelText> Letters() {
  std::string vocabulary;
  for (int i = 0; i < 26; ++i) {
    vocabulary +=
        "\"" + std::string(1, static_cast<char>('a' + i)) + "\":" + std::to_string(i) + ",";
  }
  auto tokenizer =
      text::Tokenizer::Parse(R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,
    "use_regex":false},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{)" +
                             vocabulary + R"("ab":26},"merges":["a b"]}})")
          .value();
  return ModelText::Create(std::move(tokenizer), {}, 27).value();
}

engine::Request Ask(const std::string& query, const std::vector<std::string>& documents) {
  engine::Request request;
  const auto count = static_cast<int64_t>(documents.size());
  request.inputs.push_back({kText, tensor::Tensor::FromStrings(tensor::Shape({1}), {query})});
  request.inputs.push_back(
      {kItems, tensor::Tensor::FromStrings(tensor::Shape({count}), documents)});
  return request;
}

std::vector<int32_t> Input(const engine::Request& request, std::string_view name) {
  for (const tensor::NamedTensor& input : request.inputs) {
    if (input.name != name) continue;
    const auto values = input.tensor.view().span<int32_t>();
    return {values.begin(), values.end()};
  }
  return {};
}

TEST(Rerank, WritesEachDocumentWholeAndSharesWhatTheyBeginWith) {
  const auto text = Letters();
  const RerankForm form = MakeRerankForm("x{query}y{document}z", "q,r", *text).value();
  engine::Request request = Ask("c", {"bd", "be", "b"});
  ASSERT_TRUE(AsksForRanking(request));
  ASSERT_TRUE(WriteInForm(form, *text, 32, request).ok());
  const std::vector<int32_t> prefix = Input(request, kInputIds);
  const std::vector<int32_t> items = Input(request, kItemIds);
  std::vector<std::string> texts;
  size_t at = 0;
  for (const int32_t length : Input(request, kItemLengths)) {
    std::vector<int32_t> ids = prefix;
    ids.insert(ids.end(), items.begin() + static_cast<std::ptrdiff_t>(at),
               items.begin() + static_cast<std::ptrdiff_t>(at) + length);
    at += static_cast<size_t>(length);
    texts.push_back(text->tokenizer().Decode(ids).value());
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"xcybdz", "xcybez", "xcybz"}));
  EXPECT_EQ(prefix.size(), 4U);
  EXPECT_EQ(Input(request, kLabelIds), (std::vector<int32_t>{'q' - 'a', 'r' - 'a'}));
}

TEST(Rerank, TokensThatReachFromTheFormIntoADocumentAreNotCut) {
  const auto text = Letters();
  const RerankForm form = MakeRerankForm("{query}a{document}z", "q,r", *text).value();
  engine::Request request = Ask("c", {"b", "d"});
  ASSERT_TRUE(WriteInForm(form, *text, 32, request).ok());
  EXPECT_EQ(Input(request, kInputIds), (std::vector<int32_t>{2}));
  EXPECT_EQ(Input(request, kItemIds), (std::vector<int32_t>{26, 25, 0, 3, 25}));
}

TEST(Rerank, AnItemHasATokenOfItsOwnThoughAllAreAlike) {
  const auto text = Letters();
  const RerankForm form = MakeRerankForm("{query}{document}", "q,r", *text).value();
  engine::Request request = Ask("c", {"d", "d"});
  ASSERT_TRUE(WriteInForm(form, *text, 32, request).ok());
  EXPECT_EQ(Input(request, kItemLengths), (std::vector<int32_t>{1, 1}));
}

TEST(Rerank, RefusesFormsAndTextsThatDoNotFit) {
  const auto text = Letters();
  for (const char* pattern : {"{query}", "{document}{query}", "{query}{document}{document}", ""}) {
    const auto form = MakeRerankForm(pattern, "q,r", *text);
    ASSERT_FALSE(form.ok()) << pattern;
    EXPECT_THAT(form.error().message, HasSubstr("rerank_template: expected {query}"));
  }
  for (const char* labels : {"q", "", "q,rs", "q,,r"}) {
    const auto form = MakeRerankForm("{query}{document}", labels, *text);
    ASSERT_FALSE(form.ok()) << labels;
    EXPECT_THAT(form.error().message, HasSubstr("score_labels: expected"));
  }
  const RerankForm form = MakeRerankForm("{query}{document}", "q,r", *text).value();
  engine::Request request = Ask("c", {"ddddd"});
  EXPECT_THAT(WriteInForm(form, *text, 4, request).error().message, HasSubstr("at most 4 tokens"));
}

}  // namespace
}  // namespace sluice::lm
