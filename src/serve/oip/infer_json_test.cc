// What the body of an inference request may be, and above all what it may not.
#include "serve/oip/infer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;

class InferJsonTest : public ::testing::Test {
 protected:
  base::Result<InferRequest> Parse(const std::string& json, const std::string& binary = "") {
    padded_ = json + binary + std::string(64, '\0');
    InferBody body;
    body.bytes = std::string_view(padded_).substr(0, json.size() + binary.size());
    body.json_bytes = binary.empty() ? -1 : static_cast<int64_t>(json.size());
    return ParseInferBody(body, limits_, document_);
  }
  std::string Refusal(const std::string& json, const std::string& binary = "") {
    base::Result<InferRequest> parsed = Parse(json, binary);
    return parsed.ok() ? "accepted" : parsed.error().message;
  }
  static std::string Input(const std::string& shape, const std::string& type,
                           const std::string& rest) {
    return R"({"inputs":[{"name":"X","shape":)" + shape + R"(,"datatype":")" + type + "\"," + rest +
           "}]}";
  }
  template <class T>
  std::vector<T> Values(const std::string& json) {
    base::Result<InferRequest> parsed = Parse(json);
    CHECK(parsed.ok()) << parsed.error().message;
    auto span = parsed->request->inputs[0].tensor.view().span<T>();
    return {span.begin(), span.end()};
  }

  RequestLimits limits_;
  base::JsonDocument document_;
  std::string padded_;
};

TEST_F(InferJsonTest, ReadsNestedAndFlatData) {
  EXPECT_EQ(Values<float>(Input("[2,2]", "FP32", R"("data":[[1,2.5],[-3,4e1]])")),
            (std::vector<float>{1, 2.5, -3, 40}));
  EXPECT_EQ(Values<int64_t>(
                Input("[2]", "INT64", R"("data":[9223372036854775807,-9223372036854775808])")),
            (std::vector<int64_t>{INT64_MAX, INT64_MIN}));
  EXPECT_EQ(Values<uint64_t>(Input("[1]", "UINT64", R"("data":[18446744073709551615])")),
            (std::vector<uint64_t>{UINT64_MAX}));
  EXPECT_EQ(Values<bool>(Input("[2]", "BOOL", R"("data":[true,false])")),
            (std::vector<bool>{true, false}));
}

TEST_F(InferJsonTest, ReadsStrings) {
  base::Result<InferRequest> parsed = Parse(Input("[2]", "BYTES", R"("data":["a\u0000b",""])"));
  ASSERT_TRUE(parsed.ok());
  auto strings = parsed->request->inputs[0].tensor.view().span<std::string_view>();
  EXPECT_EQ(strings[0], std::string_view("a\0b", 3));
  EXPECT_EQ(strings[1], "");
}

TEST_F(InferJsonTest, ReadsBinaryTensorsInOrder) {
  std::string json =
      R"({"inputs":[{"name":"A","shape":[1],"datatype":"INT32",)"
      R"("parameters":{"binary_data_size":4}},)"
      R"({"name":"B","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}}]})";
  std::string binary("\x07\0\0\0\x03\0\0\0abc\0\0\0\0", 15);
  base::Result<InferRequest> parsed = Parse(json, binary);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->request->inputs[0].tensor.view().as<int32_t>()[0], 7);
  EXPECT_EQ(parsed->request->inputs[1].tensor.view().as<std::string_view>()[0], "abc");
}

TEST_F(InferJsonTest, LooksAtAlignedBinaryDataInPlace) {
  std::string json = Input("[16]", "FP32", R"("parameters":{"binary_data_size":64})");
  size_t start = (64 - json.size() % 64) % 64;
  tensor::Buffer owner = tensor::Buffer::Allocate(1024);
  std::memcpy(owner.mutable_data() + start, json.data(), json.size());
  std::memset(owner.mutable_data() + start + json.size(), 0, 64);
  InferBody body;
  body.bytes = {reinterpret_cast<const char*>(owner.data()) + start, json.size() + 64};
  body.json_bytes = static_cast<int64_t>(json.size());
  body.owner = owner;
  base::Result<InferRequest> parsed = ParseInferBody(body, limits_, document_);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->request->inputs[0].tensor.buffer.data(), owner.data() + start + json.size());
}

TEST_F(InferJsonTest, AppliesTheRequestsBinaryDefaultWhereverItStands) {
  base::Result<InferRequest> parsed =
      Parse(R"({"outputs":[{"name":"A"},{"name":"B","parameters":{"binary_data":false}}],)"
            R"("parameters":{"binary_data_output":true},"inputs":[]})");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_TRUE(parsed->outputs[0].binary);
  EXPECT_FALSE(parsed->outputs[1].binary);
}

TEST_F(InferJsonTest, RefusesDimensionsThatLie) {
  EXPECT_THAT(Refusal(Input("[4611686018427387904,16]", "FP32", R"("data":[1])")),
              HasSubstr("overflow"));
  EXPECT_THAT(Refusal(Input("[4294967296,4294967296]", "FP32", R"("data":[1])")),
              HasSubstr("overflow"));
  EXPECT_THAT(Refusal(Input("[-1]", "FP32", R"("data":[1])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[60000000]", "FP32", R"("data":[1])")),
              HasSubstr("more elements than came"));
  EXPECT_THAT(Refusal(Input("[99999999]", "FP32", R"("data":[1])")), HasSubstr("more than"));
  EXPECT_THAT(Refusal(Input("[60000000]", "FP64", R"("data":[1])")), HasSubstr("bytes"));
  EXPECT_THAT(Refusal(Input("[1,1,1,1,1,1,1,1,1]", "FP32", R"("data":[1])")),
              HasSubstr("at most 8 dimensions"));
  EXPECT_THAT(Refusal(Input("[1.5]", "FP32", R"("data":[1])")), HasSubstr("shape"));
  EXPECT_THAT(Refusal(Input("[99999999999999999999]", "FP32", R"("data":[1])")), HasSubstr("JSON"));
  EXPECT_THAT(Refusal(Input("{}", "FP32", R"("data":[1])")), HasSubstr("array"));
}

TEST_F(InferJsonTest, RefusesDataThatDoesNotFit) {
  EXPECT_THAT(Refusal(Input("[2]", "FP32", R"("data":[1])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "FP32", R"("data":[1,2])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "INT8", R"("data":[128])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "UINT8", R"("data":[-1])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "INT32", R"("data":[1.5])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "FP32", R"("data":["1"])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "BYTES", R"("data":[1])")), HasSubstr("'X'"));
  EXPECT_THAT(Refusal(Input("[1]", "FP16", R"("data":[1])")), HasSubstr("binary"));
  EXPECT_THAT(Refusal(Input("[1]", "FP99", R"("data":[1])")), HasSubstr("datatype"));
}

TEST_F(InferJsonTest, RefusesBinaryDataThatDoesNotFit) {
  std::string four = Input("[1]", "FP32", R"("parameters":{"binary_data_size":4})");
  EXPECT_EQ(Refusal(four, "abcd"), "accepted");
  EXPECT_THAT(Refusal(four, "abc"), HasSubstr("are left"));
  EXPECT_THAT(Refusal(four, "abcde"), HasSubstr("additional"));
  EXPECT_THAT(Refusal(Input("[2]", "FP32", R"("parameters":{"binary_data_size":4})"), "abcd"),
              HasSubstr("expected 8 bytes"));
  EXPECT_THAT(Refusal(Input("[1]", "FP32", R"("parameters":{"binary_data_size":-4})"), "abcd"),
              HasSubstr(">= 0"));
  EXPECT_THAT(
      Refusal(Input("[1]", "FP32", R"("parameters":{"binary_data_size":4},"data":[1])"), "abcd"),
      HasSubstr("exactly one"));
  EXPECT_THAT(Refusal(Input("[1]", "FP32", R"("name2":1)")), HasSubstr("exactly one"));
  std::string strings = Input("[2]", "BYTES", R"("parameters":{"binary_data_size":8})");
  EXPECT_THAT(Refusal(strings, std::string("\xff\xff\xff\xff\0\0\0\0", 8)), HasSubstr("string 0"));
  EXPECT_THAT(Refusal(strings, std::string("\x02\0\0\0ab\0\0", 8)), HasSubstr("cut off"));
  EXPECT_THAT(Refusal(Input("[1]", "BYTES", R"("parameters":{"binary_data_size":8})"),
                      std::string("\0\0\0\0\0\0\0\0", 8)),
              HasSubstr("behind its last string"));
  EXPECT_THAT(
      Refusal(Input("[1000]", "BYTES", R"("parameters":{"binary_data_size":8})"), "abcdefgh"),
      HasSubstr("1000 strings"));
}

TEST_F(InferJsonTest, RefusesJsonThatIsDeepDoubledOrNone) {
  EXPECT_THAT(Refusal(std::string(101, '[') + std::string(101, ']')), HasSubstr("JSON"));
  EXPECT_THAT(Refusal(R"({"inputs":)" + std::string(200000, '[')), HasSubstr("JSON"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("object"));
  EXPECT_THAT(Refusal("{}"), HasSubstr("inputs"));
  EXPECT_THAT(Refusal(""), HasSubstr("JSON"));
  EXPECT_THAT(Refusal(R"({"inputs":[],"inputs":[]})"), HasSubstr("twice"));
  EXPECT_THAT(Refusal(R"({"inputs":[1]})"), HasSubstr("objects"));
  EXPECT_THAT(Refusal(R"({"inputs":[],"id":5})"), HasSubstr("'id'"));
  EXPECT_THAT(Refusal("{\"inputs\":[],\"id\":\"\xff\"}"), HasSubstr("JSON"));
}

TEST_F(InferJsonTest, RefusesReservedAndUnsupportedParameters) {
  auto with = [&](const std::string& parameter) {
    return Refusal(R"({"parameters":{)" + parameter + R"(},"inputs":[]})");
  };
  EXPECT_THAT(with(R"("triton_final_response":true)"), HasSubstr("reserved"));
  EXPECT_THAT(with(R"("sequence_id":5)"), HasSubstr("sequence"));
  EXPECT_THAT(with(R"("sequence_start":true)"), HasSubstr("sequence"));
  EXPECT_THAT(with(R"("timeout":-5)"), HasSubstr("'timeout'"));
  EXPECT_THAT(with(R"("timeout":"soon")"), HasSubstr("'timeout'"));
  EXPECT_THAT(with(R"("priority":1.5)"), HasSubstr("'priority'"));
  EXPECT_THAT(with(R"("nested":{})"), HasSubstr("'nested'"));
  EXPECT_EQ(with(R"("sequence_id":0,"timeout":18446744073709551615,"own":"x")"), "accepted");
}

TEST_F(InferJsonTest, HoldsEveryLimitOfARequest) {
  limits_.tensor_count_max = 2;
  std::string three = R"({"name":"X"},{"name":"X"},{"name":"X"})";
  EXPECT_THAT(Refusal(R"({"inputs":[)" + three + "]}"), HasSubstr("more than 2 inputs"));
  EXPECT_THAT(Refusal(R"({"inputs":[],"outputs":[)" + three + "]}"),
              HasSubstr("more than 2 outputs"));
  limits_.parameter_count_max = 1;
  EXPECT_THAT(Refusal(R"({"inputs":[],"parameters":{"a":1,"b":2}})"),
              HasSubstr("more than 1 parameters"));
  limits_.string_bytes_max = 16;
  std::string name(17, 'n');
  EXPECT_THAT(Refusal(R"({"inputs":[],"id":")" + name + "\"}"), HasSubstr("'id'"));
  EXPECT_THAT(Refusal(R"({"inputs":[],"parameters":{"a":")" + name + "\"}}"), HasSubstr("longer"));
  EXPECT_THAT(Refusal(R"({"inputs":[{"name":")" + name + "\"}]}"), HasSubstr("name"));
  limits_.tensor_elements_max = 3;
  EXPECT_THAT(Refusal(Input("[4]", "INT8", R"("data":[1,2,3,4])")),
              HasSubstr("more than 3 elements"));
  limits_.tensor_elements_max = 100;
  limits_.tensor_bytes_max = 8;
  EXPECT_THAT(Refusal(Input("[3]", "FP32", R"("data":[1,2,3])")), HasSubstr("more than 8 bytes"));
}

TEST_F(InferJsonTest, ReadsTheHeaderLengthWithoutThrowing) {
  EXPECT_EQ(*ParseHeaderLength("12", 12), 12);
  for (const char* wrong : {"13", "-1", "", "1x", "99999999999999999999999999", "0x5", " 5"}) {
    EXPECT_FALSE(ParseHeaderLength(wrong, 12).ok()) << wrong;
  }
}

TEST_F(InferJsonTest, RawBodiesNeedOneTensorWithOneOpenDimension) {
  engine::Description d;
  d.model = "m";
  d.inputs = {{"X", tensor::DType::kF32, {-1, 4}, false}};
  InferBody body;
  std::string bytes(48, '\0');
  body.bytes = bytes;
  EXPECT_EQ(RawInferBody(body, d, limits_)->request->inputs[0].tensor.shape, (tensor::Shape{3, 4}));
  d.inputs[0].dims = {-1, -1};
  EXPECT_FALSE(RawInferBody(body, d, limits_).ok());
  d.batch_rows_max = 8;
  EXPECT_EQ(RawInferBody(body, d, limits_)->request->inputs[0].tensor.shape,
            (tensor::Shape{1, 12}));
  bytes.resize(47);
  body.bytes = bytes;
  EXPECT_FALSE(RawInferBody(body, d, limits_).ok());
  d.inputs.push_back(d.inputs[0]);
  EXPECT_FALSE(RawInferBody(body, d, limits_).ok());
}

TEST(TimeoutTest, ReadsWhatGrpcAndEnvoyWrite) {
  EXPECT_EQ(ParseGrpcTimeout("100m"), base::Duration::Millis(100));
  EXPECT_EQ(ParseGrpcTimeout("1H"), base::Duration::Seconds(3600));
  EXPECT_EQ(ParseGrpcTimeout("99999999n"), (base::Duration{99999999}));
  for (const char* wrong : {"", "m", "5", "-5m", "123456789m", "5x", "0x5m"}) {
    EXPECT_EQ(ParseGrpcTimeout(wrong), base::Duration::Max()) << wrong;
  }
  EXPECT_EQ(ParseMillis("250"), base::Duration::Millis(250));
  for (const char* wrong : {"", "-1", "1.5", "9999999999999"}) {
    EXPECT_EQ(ParseMillis(wrong), base::Duration::Max()) << wrong;
  }
}

}  // namespace
}  // namespace sluice::serve
