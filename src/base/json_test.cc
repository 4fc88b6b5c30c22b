#include "base/json.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace sluice::base {
namespace {

JsonValue Parse(JsonDocument& document, std::string_view text) {
  Result<JsonValue> value = document.Parse(text);
  EXPECT_TRUE(value.ok()) << text;
  return std::move(value).value();
}

std::string Nested(size_t depth) {
  return std::string(depth, '[') + "1" + std::string(depth, ']');
}

TEST(JsonValue, ReadsEachKindAndRefusesTheOthers) {
  JsonDocument document;
  const JsonValue root =
      Parse(document, R"({"n":null,"b":true,"i":-5,"u":18446744073709551615,"d":2.5,"s":"x","a":[],
                          "o":{}})");
  EXPECT_TRUE(root.Get("n")->is_null());
  EXPECT_EQ(root.Get("b")->AsBool().value(), true);
  EXPECT_EQ(root.Get("i")->AsInt().value(), -5);
  EXPECT_EQ(root.Get("u")->AsUint().value(), 18446744073709551615u);
  EXPECT_EQ(root.Get("d")->AsDouble().value(), 2.5);
  EXPECT_EQ(root.Get("i")->AsDouble().value(), -5.0);
  EXPECT_EQ(root.Get("s")->AsString().value(), "x");
  EXPECT_FALSE(root.Get("i")->AsUint().ok());
  EXPECT_FALSE(root.Get("u")->AsInt().ok());
  EXPECT_FALSE(root.Get("d")->AsInt().ok());
  EXPECT_FALSE(root.Get("s")->AsBool().ok());
  EXPECT_FALSE(root.Get("a")->AsString().ok());
  EXPECT_FALSE(root.Get("o")->ForEachElement([](JsonValue) { return Ok(); }).ok());
  EXPECT_FALSE(root.Get("a")->Find("k").ok());
  const Result<JsonValue> absent = root.Get("zz");
  ASSERT_FALSE(absent.ok());
  EXPECT_NE(absent.error().message.find("'zz'"), std::string::npos);
  EXPECT_FALSE(root.Find("zz")->has_value());
}

TEST(JsonValue, StringsAreUnescapedAndMayHoldNul) {
  JsonDocument document;
  EXPECT_EQ(Parse(document, R"("a\u0000\n\u00e9\ud83d\ude00")").AsString().value(),
            std::string_view("a\0\n\xC3\xA9\xF0\x9F\x98\x80", 9));
}

TEST(JsonValue, AKeyThatOccursTwiceIsRefusedWhenLookedUp) {
  JsonDocument document;
  const JsonValue root = Parse(document, R"({"a":1,"b":2,"a":3})");
  EXPECT_FALSE(root.Get("a").ok());
  EXPECT_FALSE(root.Find("a").ok());
  EXPECT_EQ(root.Get("b")->AsInt().value(), 2);
}

TEST(JsonValue, VisitsElementsAndMembersInOrderAndStopsAtAnError) {
  JsonDocument document;
  const JsonValue root = Parse(document, R"({"a":[1,[2,3],{"x":4}],"b":-1.5,"c":"t"})");
  std::string keys;
  EXPECT_TRUE(root.ForEachMember([&](std::string_view key, JsonValue value) {
                    keys += key;
                    keys += JsonKindName(value.kind());
                    return Ok();
                  })
                  .ok());
  EXPECT_EQ(keys, "aan arrayba numberca string");
  int visited = 0;
  const Status stopped = root.Get("a")->ForEachElement([&](JsonValue) -> Status {
    return ++visited == 2 ? Status(InvalidArgument("enough")) : Ok();
  });
  EXPECT_EQ(visited, 2);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().message, "enough");
  EXPECT_EQ(root.size(), 3);
  EXPECT_EQ(root.Get("a")->size(), 3);
  EXPECT_EQ(root.CountScalars(), 6);
}

TEST(JsonValue, CountsMoreElementsThanTheTapesCounterHolds) {
  constexpr int64_t kCount = (int64_t{1} << 24) + 3;
  std::string text(static_cast<size_t>(2 * kCount + 1), ',');
  text.front() = '[';
  text.back() = ']';
  for (int64_t i = 0; i < kCount; ++i) text[static_cast<size_t>(2 * i + 1)] = '1';
  JsonDocument document;
  const JsonValue root = Parse(document, text);
  EXPECT_EQ(root.size(), kCount);
}

TEST(JsonReadNumbers, WalksFlatAndNestedArraysAlike) {
  JsonDocument document;
  for (const char* text : {"[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", "[[[1],[2]],[[3],[4]],[[5],[6]]]",
                           "[[], 1,[2,[3]],4,[5,6],[]]"}) {
    std::vector<int32_t> out(6);
    ASSERT_TRUE(Parse(document, text).ReadNumbers(std::span(out)).ok()) << text;
    EXPECT_EQ(out, (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  }
  std::array<double, 1> scalar{};
  EXPECT_TRUE(Parse(document, "-2.5").ReadNumbers(std::span<double>(scalar)).ok());
  EXPECT_EQ(scalar[0], -2.5);
}

TEST(JsonReadNumbers, RefusesAnyOtherCountOrKind) {
  JsonDocument document;
  std::vector<float> out(3);
  for (const char* text : {"[]", "[1,2]", "[1,2,3,4]", "[1,2,\"3\"]", "[1,2,null]", "[1,2,{}]",
                           "[1,2,{\"a\":3}]", "\"123\"", "{}", "1", "[1,2,true]"}) {
    EXPECT_FALSE(Parse(document, text).ReadNumbers(std::span(out)).ok()) << text;
  }
}

template <class T>
bool Takes(const std::string& text, T expected) {
  JsonDocument document;
  std::array<T, 1> out{};
  return Parse(document, "[" + text + "]").ReadNumbers(std::span<T>(out)).ok() &&
         out[0] == expected;
}

template <class T>
bool Refuses(const std::string& text) {
  JsonDocument document;
  std::array<T, 1> out{};
  return !Parse(document, "[" + text + "]").ReadNumbers(std::span<T>(out)).ok();
}

template <class T>
void CheckIntegerEdges(const std::string& below, const std::string& above) {
  constexpr T kMin = std::numeric_limits<T>::min();
  constexpr T kMax = std::numeric_limits<T>::max();
  EXPECT_TRUE(Takes<T>(std::to_string(kMin), kMin));
  EXPECT_TRUE(Takes<T>(std::to_string(kMax), kMax));
  if (!below.empty()) {
    EXPECT_TRUE(Refuses<T>(below)) << below;
  }
  if (!above.empty()) {
    EXPECT_TRUE(Refuses<T>(above)) << above;
  }
  EXPECT_TRUE(Takes<T>("7.0", 7));
  EXPECT_TRUE(Takes<T>("1e2", 100));
  EXPECT_TRUE(Refuses<T>("1.5"));
  EXPECT_TRUE(Refuses<T>("1e300"));
  EXPECT_TRUE(Refuses<T>("-1e300"));
  EXPECT_TRUE(Refuses<T>("true"));
}

TEST(JsonReadNumbers, IntegersAreExactAndInTheRangeOfTheirType) {
  CheckIntegerEdges<int8_t>("-129", "128");
  CheckIntegerEdges<int16_t>("-32769", "32768");
  CheckIntegerEdges<int32_t>("-2147483649", "2147483648");
  CheckIntegerEdges<int64_t>("", "9223372036854775808");
  CheckIntegerEdges<uint8_t>("-1", "256");
  CheckIntegerEdges<uint16_t>("-1", "65536");
  CheckIntegerEdges<uint32_t>("-1", "4294967296");
  CheckIntegerEdges<uint64_t>("-1", "");
}

TEST(JsonReadNumbers, BoolsAreTrueFalseZeroOrOne) {
  EXPECT_TRUE(Takes<bool>("true", true));
  EXPECT_TRUE(Takes<bool>("false", false));
  EXPECT_TRUE(Takes<bool>("1", true));
  EXPECT_TRUE(Takes<bool>("0", false));
  EXPECT_TRUE(Refuses<bool>("2"));
  EXPECT_TRUE(Refuses<bool>("-1"));
  EXPECT_TRUE(Refuses<bool>("1.0"));
}

TEST(JsonReadNumbers, AFiniteNumberThatOverflowsAFloatIsRefused) {
  EXPECT_TRUE(Takes<float>("3.4028234663852886e38", std::numeric_limits<float>::max()));
  EXPECT_TRUE(Refuses<float>("3.5e38"));
  EXPECT_TRUE(Refuses<float>("-1e39"));
  EXPECT_TRUE(Takes<float>("1e-60", 0.0f));
  EXPECT_TRUE(Takes<double>("1e308", 1e308));
  EXPECT_TRUE(Takes<float>("16777217", 16777216.0f));
}

TEST(JsonReadStrings, ReadsNestedStringsAndCountsThem) {
  JsonDocument document;
  const JsonValue value = Parse(document, R"([["a"],["b","\u00e9"]])");
  std::string joined;
  EXPECT_TRUE(value.ReadStrings(3, [&](std::string_view s) { joined.append(s).append("|"); }).ok());
  EXPECT_EQ(joined, "a|b|\xC3\xA9|");
  EXPECT_FALSE(value.ReadStrings(2, [](std::string_view) {}).ok());
  EXPECT_FALSE(value.ReadStrings(4, [](std::string_view) {}).ok());
  EXPECT_FALSE(Parse(document, R"(["a",1])").ReadStrings(2, [](std::string_view) {}).ok());
}

TEST(JsonDocument, RefusesWhatIsNoJson) {
  JsonDocument document;
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":}", "[1] 2", "nul", "'a'", "[01]", "\"\xff\"", "[1e999]",
        "[123456789012345678901234567890]", "\"\\ud800\"", "NaN"}) {
    const Result<JsonValue> value = document.Parse(text);
    ASSERT_FALSE(value.ok()) << text;
    EXPECT_EQ(value.error().code, Code::kInvalidArgument);
  }
  EXPECT_TRUE(document.Parse("[1]").ok()) << "a failed parse must not spoil the next";
}

TEST(JsonDocument, RefusesTextNestedDeeperThanItsLimit) {
  for (const size_t limit : {size_t{1}, size_t{5}, JsonLimits{}.depth_max}) {
    JsonDocument document(JsonLimits{.depth_max = limit});
    EXPECT_TRUE(document.Parse(Nested(limit)).ok()) << limit;
    EXPECT_FALSE(document.Parse(Nested(limit + 1)).ok()) << limit;
    EXPECT_FALSE(document.Parse(Nested(1000000)).ok()) << limit;
    EXPECT_FALSE(document.Parse(std::string(100000, '[')).ok()) << limit;
  }
}

TEST(JsonDocument, RefusesTextLongerThanItsLimit) {
  JsonDocument document(JsonLimits{.bytes_max = 10});
  EXPECT_TRUE(document.Parse("[12345678]").ok());
  const Result<JsonValue> value = document.Parse("[123456789]");
  ASSERT_FALSE(value.ok());
  EXPECT_EQ(value.error().code, Code::kResourceExhausted);
}

TEST(JsonDocument, ShrinksAndParsesAgain) {
  JsonDocument document(JsonLimits{.depth_max = 3});
  EXPECT_TRUE(document.Parse("[" + std::string(100000, ' ') + "1]").ok());
  document.Shrink();
  EXPECT_FALSE(document.Parse(Nested(4)).ok());
  EXPECT_TRUE(document.Parse(Nested(3)).ok());
}

TEST(JsonWriter, PutsCommasAndBrackets) {
  std::string out;
  JsonWriter writer(out);
  writer.BeginObject().Key("a").BeginArray().Int(-1).Uint(2).Double(0.5).Float(0.1f);
  writer.Bool(false).Null().BeginObject().EndObject().BeginArray().EndArray().EndArray();
  writer.Key("b").String("x").Key("c").Raw("[1]").EndObject();
  EXPECT_EQ(out, R"({"a":[-1,2,0.5,0.1,false,null,{},[]],"b":"x","c":[1]})");
}

TEST(JsonWriter, EscapesWhatMustBeAndReplacesInvalidUtf8) {
  std::string out;
  AppendJsonString(std::string_view("\"\\/\b\f\n\r\t\x01\x1f\x7f \xC3\xA9\xff\xE2\x82z\0", 19),
                   out);
  EXPECT_EQ(
      out,
      "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBDz\\u0000\"");
}

TEST(JsonWriter, EveryByteStringParsesBackAsItsRepairedSelf) {
  std::mt19937 random(7);
  JsonDocument document;
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random());
    std::string out;
    AppendJsonString(text, out);
    ASSERT_TRUE(document.Parse(out).ok()) << out;
  }
}

TEST(JsonWriter, FloatsReadBackAsTheSameBits) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20000; ++round) {
    const auto single = std::bit_cast<float>(static_cast<uint32_t>(random()));
    const auto twice = std::bit_cast<double>(random());
    std::string out;
    if (std::isfinite(single)) {
      AppendJsonFloat(single, out);
      ASSERT_EQ(std::bit_cast<uint32_t>(std::strtof(out.c_str(), nullptr)),
                std::bit_cast<uint32_t>(single));
    }
    out.clear();
    if (std::isfinite(twice)) {
      AppendJsonDouble(twice, out);
      ASSERT_EQ(std::bit_cast<uint64_t>(std::strtod(out.c_str(), nullptr)),
                std::bit_cast<uint64_t>(twice));
    }
  }
}

TEST(JsonWriter, NegativeZeroKeepsItsSignThroughOurReader) {
  std::string out;
  AppendJsonDouble(-0.0, out);
  JsonDocument document;
  EXPECT_TRUE(std::signbit(Parse(document, out).AsDouble().value()));
}

TEST(JsonWriter, LargeWholeNumbersAreNotTakenForIntegersThatOverflow) {
  std::string out;
  AppendJsonDouble(88888888888888885248.0, out);
  JsonDocument document;
  EXPECT_EQ(Parse(document, out).AsDouble().value(), 88888888888888885248.0);
  out.clear();
  AppendJsonFloat(1e20f, out);
  EXPECT_EQ(out, "1e+20");
}

TEST(JsonWriter, NanAndInfinityBecomeNull) {
  std::string out;
  const std::array<float, 4> values = {1.0f, std::numeric_limits<float>::infinity(),
                                       -std::numeric_limits<float>::infinity(), std::nanf("")};
  JsonWriter(out).Numbers(std::span<const float>(values));
  EXPECT_EQ(out, "[1,null,null,null]");
}

TEST(JsonWriter, WritesFlatArraysOfNumbersAndBools) {
  std::string out;
  const std::array<int64_t, 3> numbers = {std::numeric_limits<int64_t>::min(), 0, 5};
  const std::array<uint8_t, 2> bytes = {0, 255};
  const std::array<bool, 2> bools = {true, false};
  JsonWriter writer(out);
  writer.BeginArray().Numbers(std::span<const int64_t>(numbers));
  writer.Numbers(std::span<const uint8_t>(bytes)).Numbers(std::span<const bool>(bools));
  writer.Numbers(std::span<const float>()).EndArray();
  EXPECT_EQ(out, "[[-9223372036854775808,0,5],[0,255],[true,false],[]]");
}

}  // namespace
}  // namespace sluice::base
