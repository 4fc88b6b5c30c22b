#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace sluice::base {
namespace {

// Collects lines instead of printing them, and restores the defaults.
class LogTest : public testing::Test {
 protected:
  LogTest() {
    SetLogSink([this](std::string_view line) { lines_.emplace_back(line); });
  }
  ~LogTest() override {
    SetLogSink({});
    SetLogFormat(LogFormat::kText);
    SetLogLevel(LogLevel::kInfo);
  }
  std::vector<std::string> lines_;
};

TEST_F(LogTest, WritesTimeLevelEventAndPairsOnOneLine) {
  Log(LogLevel::kWarning, "model_load_failed")
      .With("model", "bert")
      .With("reason", std::string("no \"such\"\nfile"))
      .With("bytes", int64_t{-3})
      .With("count", uint64_t{18446744073709551615u})
      .With("ratio", 0.5)
      .With("retry", true)
      .With("empty", "");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_THAT(lines_[0],
              testing::MatchesRegex(
                  R"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z WARNING )"
                  R"(model_load_failed model=bert reason="no \\"such\\"\\nfile" bytes=-3 )"
                  "count=18446744073709551615 ratio=0.5 retry=true empty=\"\"\n"));
}

TEST_F(LogTest, TheJsonFormatIsOneObjectALine) {
  SetLogFormat(LogFormat::kJson);
  Log(LogLevel::kError, "odd").With("text", "a\n\xff").With("n", 7).With("nan", 0.0 / 0.0);
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0].find('\n'), lines_[0].size() - 1);
  JsonDocument document;
  const JsonValue line = document.Parse(lines_[0]).value();
  EXPECT_EQ(line.Get("level")->AsString().value(), "ERROR");
  EXPECT_EQ(line.Get("event")->AsString().value(), "odd");
  EXPECT_EQ(line.Get("text")->AsString().value(), "a\n\xEF\xBF\xBD");
  EXPECT_EQ(line.Get("n")->AsInt().value(), 7);
  EXPECT_TRUE(line.Get("nan")->is_null());
  EXPECT_TRUE(line.Get("time")->is_string());
}

TEST_F(LogTest, LinesBelowTheLevelAreDropped) {
  SetLogLevel(LogLevel::kWarning);
  Log(LogLevel::kInfo, "quiet").With("a", 1).With("b", "c").With("d", false).With("e", 0.1);
  Log(LogLevel::kWarning, "loud");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find("loud"), std::string::npos);
}

TEST_F(LogTest, ALimitLetsOneLineThroughPerIntervalAndTellsWhatItHeldBack) {
  VirtualClock clock;
  LogLimit limit(Duration::Seconds(1), clock);
  for (int i = 0; i < 5; ++i) Log(LogLevel::kInfo, "often", limit).With("i", i);
  clock.Advance(Duration::Seconds(1));
  Log(LogLevel::kInfo, "often", limit).With("i", 5);
  clock.Advance(Duration::Seconds(1));
  Log(LogLevel::kInfo, "often", limit).With("i", 6);
  ASSERT_EQ(lines_.size(), 3u);
  EXPECT_NE(lines_[0].find("often i=0\n"), std::string::npos);
  EXPECT_NE(lines_[1].find("often suppressed=4 i=5\n"), std::string::npos);
  EXPECT_NE(lines_[2].find("often i=6\n"), std::string::npos);
}

TEST_F(LogTest, LongValuesAreCut) {
  Log(LogLevel::kInfo, "long").With("v", std::string(Log::kValueBytesMax + 100, 'x'));
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find(" v=" + std::string(Log::kValueBytesMax, 'x') + "\n"),
            std::string::npos);
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) Log(LogLevel::kInfo, "tick").With("t", t).With("i", i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines_.size(), 800u);
  for (const std::string& line : lines_) EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(LogLevel, NamesAreThoseOfTheConfiguration) {
  EXPECT_EQ(LogLevelFromName("debug"), LogLevel::kDebug);
  EXPECT_EQ(LogLevelFromName("error"), LogLevel::kError);
  EXPECT_EQ(LogLevelFromName("Error"), std::nullopt);
}

}  // namespace
}  // namespace sluice::base
