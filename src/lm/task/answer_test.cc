#include "lm/task/answer.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::lm {
namespace {

// Tokens 0 to 5 are the letters a to f.
std::shared_ptr<const ModelText> Letters() {
  auto tokenizer =
      text::Tokenizer::Parse(R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,
    "use_regex":false},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",
    "vocab":{"a":0,"b":1,"c":2,"d":3,"e":4,"f":5},"merges":[]}})")
          .value();
  return ModelText::Create(std::move(tokenizer), {}, 6).value();
}

// What a reader is given who takes the new text behind each token.
struct Told {
  std::string text;
  std::string reason;
};
Told Tell(const std::vector<std::string>& stops, const std::string& letters) {
  const auto text = Letters();
  Generation asked;
  asked.stop = stops;
  for (const std::string& stop : stops) asked.stop_bytes = std::max(asked.stop_bytes, stop.size());
  asked.answer_max = 100;
  const std::vector<int32_t> end_ids;
  Answer answer(asked, text.get(), end_ids, 0);
  Told told;
  for (const char letter : letters) {
    Sample sample;
    sample.token = letter - 'a';
    const bool goes_on = answer.Hear(sample);
    told.text += answer.NewText();
    answer.MarkSent();
    if (!goes_on) break;
  }
  told.reason = answer.finish_reason();
  return told;
}

TEST(Answer, EndsBeforeAStopThatLiesInSeveralChunks) {
  const Told told = Tell({"cde"}, "abcdef");
  EXPECT_EQ(told.text, "ab");
  EXPECT_EQ(told.reason, "stop");
}

TEST(Answer, EndsBeforeTheFirstOfSeveralStops) {
  const Told told = Tell({"ffff", "de", "d"}, "abcdeffff");
  EXPECT_EQ(told.text, "abc");
  EXPECT_EQ(told.reason, "stop");
}

TEST(Answer, TellsWhatBeganLikeAStopAndWasNone) {
  const Told told = Tell({"cde"}, "abcdbcdfaa");
  EXPECT_EQ(told.text, "abcdbcdf");  // the rest may begin a stop
  EXPECT_EQ(told.reason, "");
}

}  // namespace
}  // namespace sluice::lm
