// Every field of a configuration is honoured, noticed or refused by name.
#include "serve/repository/model_config.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <functional>

#include "serve/repository/config_fields.h"

namespace sluice::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

base::Result<ConfigReading> Read(const std::string& text) {
  base::Result<inference::ModelConfig> config = ParseConfigText(text);
  if (!config.ok()) return config.error();
  return ReadConfig(*config, "m");
}
std::string Refusal(const std::string& text) {
  base::Result<ConfigReading> reading = Read(text);
  return reading.ok() ? "accepted" : reading.error().message;
}

TEST(ModelConfigTest, ReadsWhatItHonours) {
  base::Result<ConfigReading> reading = Read(R"(
      name: "m"  backend: "onnxruntime"  max_batch_size: 32
      input { name: "X" data_type: TYPE_FP32 dims: [ -1, 4 ] }
      output { name: "Y" data_type: TYPE_STRING dims: 1 }
      default_model_filename: "graph.onnx"
      version_policy { specific { versions: [ 3, 1 ] } }
      dynamic_batching {
        max_queue_delay_microseconds: 250  priority_levels: 3  default_priority_level: 2
        default_queue_policy { default_timeout_microseconds: 9000 max_queue_size: 77 }
      }
      parameters { key: "k" value { string_value: "v" } }
      model_warmup { name: "w" batch_size: 4 count: 2
                     inputs { key: "X"
          value { data_type: TYPE_FP32 dims: 4 random_data: true } } })");
  ASSERT_TRUE(reading.ok()) << reading.error().message;
  EXPECT_THAT(reading->notices, IsEmpty());
  EXPECT_EQ(reading->model_file, "graph.onnx");
  EXPECT_THAT(reading->versions.versions, ElementsAre(3, 1));
  const ModelSettings& s = reading->settings;
  EXPECT_EQ(s.max_batch_size, 32);
  EXPECT_THAT(s.inputs[0].dims, ElementsAre(-1, 4));
  EXPECT_EQ(s.outputs[0].dtype, tensor::DType::kBytes);
  EXPECT_EQ(s.max_queue_delay, base::Duration::Micros(250));
  EXPECT_EQ(s.default_timeout, base::Duration::Micros(9000));
  EXPECT_EQ(s.queue_requests_max, 77);
  EXPECT_EQ(s.default_priority, 2);
  EXPECT_EQ(s.parameters.at("k"), "v");
  EXPECT_EQ(s.warmups[0].count, 2);
  EXPECT_TRUE(s.warmups[0].inputs.at("X").random);
}

TEST(ModelConfigTest, NoticesWhatCannotMatter) {
  base::Result<ConfigReading> reading = Read(R"(
      instance_group { kind: KIND_GPU gpus: 0 count: 2 }
      optimization { cuda { graphs: true } }
      dynamic_batching { preferred_batch_size: [ 4, 8 ] })");
  ASSERT_TRUE(reading.ok()) << reading.error().message;
  EXPECT_THAT(reading->notices,
              ElementsAre(HasSubstr("instance_group.count"), HasSubstr("instance_group.gpus"),
                          HasSubstr("instance_group.kind"),
                          HasSubstr("dynamic_batching.preferred_batch_size"),
                          HasSubstr("optimization.cuda")));
}

TEST(ModelConfigTest, RefusesByName) {
  EXPECT_THAT(Refusal("sequence_batching { }"), HasSubstr("'sequence_batching'"));
  EXPECT_THAT(Refusal("ensemble_scheduling { }"), HasSubstr("'ensemble_scheduling'"));
  EXPECT_THAT(Refusal("model_transaction_policy { decoupled: true }"), HasSubstr("decoupled"));
  EXPECT_THAT(Refusal("input { name: \"X\" data_type: TYPE_FP32 dims: 1 reshape { } }"),
              HasSubstr("'input.reshape'"));
  EXPECT_THAT(Refusal("batch_input { kind: BATCH_ELEMENT_COUNT }"), HasSubstr("'batch_input'"));
  EXPECT_THAT(Refusal("dynamic_batching { default_queue_policy { timeout_action: DELAY } }"),
              HasSubstr("timeout_action"));
  EXPECT_THAT(Refusal("dynamic_batching { preserve_ordering: true }"),
              HasSubstr("preserve_ordering"));
  EXPECT_THAT(Refusal("platform: \"tensorrt_plan\""), HasSubstr("'platform'"));
  EXPECT_THAT(Refusal("backend: \"python\""), HasSubstr("'backend'"));
  EXPECT_THAT(Refusal("name: \"other\""), HasSubstr("'name'"));
  EXPECT_THAT(Refusal("max_batch_size: -1"), HasSubstr("'max_batch_size'"));
  EXPECT_THAT(Refusal("version_policy { latest { } }"), HasSubstr("num_versions"));
  EXPECT_THAT(Refusal("input { name: \"X\" dims: 1 }"), HasSubstr("data_type"));
  EXPECT_THAT(Refusal("input { name: \"X\" data_type: TYPE_FP32 dims: -2 }"), HasSubstr("dims"));
}

TEST(ModelConfigTest, SaysWhereTheTextIsWrong) {
  EXPECT_THAT(Refusal("name: \"m\"\nno_such_field: 1"), HasSubstr("line 2"));
  EXPECT_THAT(Refusal("max_batch_size: 99999999999"), HasSubstr("line 1"));
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "optimization { ";
  EXPECT_THAT(Refusal(deep), HasSubstr("config.pbtxt"));
  EXPECT_THAT(Refusal(std::string(kConfigBytesMax + 1, ' ')), HasSubstr("longer"));
}

// Sets one field, whatever its type, to something that is not its default.
void SetSomething(google::protobuf::Message& message,
                  const google::protobuf::FieldDescriptor& field) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& r = *message.GetReflection();
  bool many = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      many ? r.AddInt32(&message, &field, 1) : r.SetInt32(&message, &field, 1);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      many ? r.AddInt64(&message, &field, 1) : r.SetInt64(&message, &field, 1);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      many ? r.AddUInt32(&message, &field, 1) : r.SetUInt32(&message, &field, 1);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      many ? r.AddUInt64(&message, &field, 1) : r.SetUInt64(&message, &field, 1);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      many ? r.AddBool(&message, &field, true) : r.SetBool(&message, &field, true);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      many ? r.AddEnumValue(&message, &field, 1) : r.SetEnumValue(&message, &field, 1);
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      many ? r.AddString(&message, &field, "s") : r.SetString(&message, &field, "s");
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      many ? r.AddMessage(&message, &field) : r.MutableMessage(&message, &field);
      break;
    default:
      break;
  }
}

TEST(ModelConfigTest, TheServersOwnConfigurationsAreAcceptedBack) {
  engine::Description d;
  d.model = "m";
  d.platform = "onnx";
  d.inputs = {{"X", tensor::DType::kF32, {-1, 4}, false}};
  d.outputs = {{"Y", tensor::DType::kI64, {-1}, false}};
  d.batch_rows_max = 16;
  inference::ModelConfig config;
  CompleteConfig(d, config);
  base::Result<ConfigReading> reading = ReadConfig(config, "m");
  ASSERT_TRUE(reading.ok()) << reading.error().message;
  EXPECT_TRUE(CheckDeclared(reading->settings, d).ok());
  EXPECT_EQ(reading->settings.max_batch_size, 16);
}

TEST(ModelConfigTest, NoTopLevelFieldIsPassedOver) {
  const google::protobuf::Descriptor& type = *inference::ModelConfig::descriptor();
  // What an empty message of these says is "default", which is what happens.
  const std::set<std::string> kEmptyIsDefault = {
      "version_policy",   "input",          "output",       "optimization",
      "dynamic_batching", "instance_group", "model_warmup", "model_transaction_policy"};
  for (int i = 0; i < type.field_count(); ++i) {
    inference::ModelConfig config;
    SetSomething(config, *type.field(i));
    base::Result<std::vector<std::string>> checked = CheckConfigFields(config);
    const std::string& name = type.field(i)->name();
    const std::set<std::string> kHonoured = {
        "name", "platform", "backend", "max_batch_size", "default_model_filename", "parameters"};
    bool handled = !checked.ok() || !checked->empty() || kHonoured.count(name) > 0 ||
                   kEmptyIsDefault.count(name) > 0;
    EXPECT_TRUE(handled) << name;
    if (!checked.ok()) {
      EXPECT_THAT(checked.error().message, HasSubstr(name));
    }
  }
}

TEST(ModelConfigTest, ComparesDeclaredTensorsWithTheModel) {
  engine::Description d;
  d.model = "m";
  d.inputs = {{"X", tensor::DType::kF32, {-1, 4}, false}};
  d.outputs = {{"Y", tensor::DType::kF32, {-1, 1}, false}};
  d.batch_rows_max = 8;
  auto check = [&](const std::string& text) {
    base::Status status = CheckDeclared(Read(text)->settings, d);
    return status.ok() ? std::string("fits") : status.error().message;
  };
  EXPECT_EQ(check("max_batch_size: 8 input { name: \"X\" data_type: TYPE_FP32 dims: 4 }"), "fits");
  EXPECT_THAT(check("max_batch_size: 8 input { name: \"Z\" data_type: TYPE_FP32 dims: 4 }"),
              HasSubstr("'Z'"));
  EXPECT_THAT(check("max_batch_size: 8 input { name: \"X\" data_type: TYPE_FP16 dims: 4 }"),
              HasSubstr("FP32"));
  EXPECT_THAT(check("max_batch_size: 8 input { name: \"X\" data_type: TYPE_FP32 dims: 5 }"),
              HasSubstr("dims"));
  d.batch_rows_max = 0;
  d.batch_reason = "a reduction over axis 0";
  EXPECT_THAT(check("max_batch_size: 8"), HasSubstr("a reduction over axis 0"));
}

TEST(ModelConfigTest, ReadsTheJsonForm) {
  base::Result<inference::ModelConfig> config = ParseConfigJson(
      R"({"max_batch_size":4,"input":[{"name":"X","data_type":"TYPE_FP32","dims":[4]}]})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->max_batch_size(), 4);
  EXPECT_FALSE(ParseConfigJson(R"({"no_such_field":1})").ok());
  EXPECT_FALSE(ParseConfigJson(std::string(100000, '[')).ok());
}

}  // namespace
}  // namespace sluice::serve
