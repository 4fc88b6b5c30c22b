// Real small models from tests/conformance/graphs through a real loop on a virtual clock.
#include "infer/infer_engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "engine/test_loop.h"
#include "infer/prepared_request.h"

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

const std::string kGraphs = "tests/conformance/graphs";

using Sink = engine::OneReplySink;

Tensor Ints(const Shape& shape, int64_t high, std::mt19937& random) {
  Tensor tensor = Tensor::Allocate(DType::kI64, shape, 1 << 20).value();
  for (int64_t& x : tensor.mutable_view().span<int64_t>())
    x = static_cast<int64_t>(random() % static_cast<uint32_t>(high));
  return tensor;
}

Tensor Floats(const Shape& shape, std::mt19937& random) {
  Tensor tensor = Tensor::Allocate(DType::kF32, shape, 1 << 20).value();
  std::normal_distribution<float> normal;
  for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
  return tensor;
}

class InferEngineTest : public engine::LoopTest {
 protected:
  void Load(const std::string& graph, Options options = {}) {
    options.model_file = graph + ".onnx";
    options.model = graph;
    LoadFolder(kGraphs, options);
  }
  void LoadFolder(const std::string& folder, const Options& options) {
    base::Result<std::unique_ptr<engine::Engine>> loaded = infer::Load(folder, options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Serve(std::move(loaded).value());
  }

  using Inputs = std::vector<tensor::NamedTensor>;
  Inputs DeepFmInputs(int64_t rows, uint32_t seed) {
    std::mt19937 random(seed);
    return {{"ids", Ints({rows, 6}, 40, random)}, {"dense", Floats({rows, 4}, random)}};
  }
  Inputs BertInputs(int64_t rows, int64_t length, uint32_t seed) {
    std::mt19937 random(seed);
    Tensor mask = Ints({rows, length}, 1, random);
    for (int64_t& x : mask.mutable_view().span<int64_t>()) x = 1;
    for (int64_t row = 0; row < rows; ++row)
      mask.mutable_view().as<int64_t>()[row * length + length - 1] = row % 2;
    return {{"input_ids", Ints({rows, length}, 80, random)},
            {"attention_mask", mask},
            {"token_type_ids", Ints({rows, length}, 2, random)}};
  }

  // The mask begins with a hole, so that the request runs padded.
  Inputs OddBertInputs(int64_t rows, int64_t length, uint32_t seed) {
    Inputs inputs = BertInputs(rows, length, seed);
    for (int64_t row = 0; row < rows; ++row) {
      inputs[1].tensor.mutable_view().as<int64_t>()[row * length] = 0;
    }
    return inputs;
  }

  std::unique_ptr<engine::Request> Request(Inputs inputs, std::shared_ptr<Sink> sink) {
    auto request = std::make_unique<engine::Request>();
    request->call = std::make_shared<engine::Call>(engine::Call::Options{});
    request->inputs = std::move(inputs);
    request->sink = std::move(sink);
    return request;
  }
  std::shared_ptr<Sink> Send(Inputs inputs) {
    auto sink = std::make_shared<Sink>();
    auto request = Request(std::move(inputs), sink);
    Submit(std::move(request));
    return sink;
  }
  std::string PrepareError(Inputs inputs) {
    return LoopTest::PrepareError(Request(std::move(inputs), std::make_shared<Sink>()));
  }
  // What each request gets when nothing else is there, then all of them together: the same bits.
  void ExpectSameBitsTogether(const std::vector<Inputs>& requests) {
    std::vector<std::shared_ptr<Sink>> alone, together;
    for (const Inputs& inputs : requests) {
      alone.push_back(Send(inputs));
      Run();
    }
    for (const Inputs& inputs : requests) together.push_back(Send(inputs));
    Run();
    int64_t joined = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(alone[i]->answered && together[i]->answered);
      ASSERT_TRUE(alone[i]->last.status.ok()) << alone[i]->last.status.error().message;
      ASSERT_TRUE(together[i]->last.status.ok()) << together[i]->last.status.error().message;
      joined = std::max(joined, together[i]->last.timings.batch_rows);
      ASSERT_EQ(alone[i]->last.outputs.size(), together[i]->last.outputs.size());
      for (size_t k = 0; k < alone[i]->last.outputs.size(); ++k) {
        const Tensor& a = alone[i]->last.outputs[k].tensor;
        const Tensor& b = together[i]->last.outputs[k].tensor;
        ASSERT_EQ(a.shape, b.shape);
        EXPECT_EQ(
            std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())), 0)
            << "request " << i << " output " << k;
      }
    }
    EXPECT_GT(joined, requests.size() > 1 ? 1 : 0);
  }
};

TEST_F(InferEngineTest, ARankedRequestGetsTheSameBitsAloneAndJoined) {
  Load("deepfm_ts14");
  std::vector<Inputs> requests;
  for (uint32_t i = 0; i < 12; ++i) requests.push_back(DeepFmInputs(1 + i % 5, i));
  ExpectSameBitsTogether(requests);
}

TEST_F(InferEngineTest, AnEncodedTextGetsTheSameBitsAloneAndJoined) {
  Load("bert_encoder_ts15");
  std::vector<Inputs> requests;
  for (uint32_t i = 0; i < 12; ++i)
    requests.push_back(BertInputs(1 + i % 3, i % 2 == 0 ? 7 : 12, i));
  ExpectSameBitsTogether(requests);
}

TEST_F(InferEngineTest, TextsOfDifferentLengthsShareAStepAndKeepTheirBits) {
  Load("bert_encoder_ts15");
  for (const size_t count : {size_t{1}, size_t{7}, size_t{251}}) {
    std::vector<Inputs> requests;
    for (uint32_t i = 0; i < count; ++i) requests.push_back(BertInputs(1, 2 + i % 11, i));
    std::mt19937 random(7);
    std::shuffle(requests.begin(), requests.end(), random);
    ExpectSameBitsTogether(requests);
  }
  const std::vector<std::shared_ptr<Sink>> sinks = {Send(BertInputs(1, 3, 1)),
                                                    Send(BertInputs(2, 9, 2))};
  Run();
  EXPECT_EQ(sinks[0]->last.timings.batch_rows, 3);
  EXPECT_EQ(sinks[1]->last.timings.batch_rows, 3);
}

TEST_F(InferEngineTest, PaddingAtTheEndOfRowsChangesNoBit) {
  Load("bert_encoder_ts15");
  Inputs padded = BertInputs(3, 12, 5);
  const std::vector<int64_t> lengths = {4, 12, 7};
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t i = 0; i < 12; ++i) {
      padded[1].tensor.mutable_view().as<int64_t>()[row * 12 + i] =
          i < lengths[static_cast<size_t>(row)] ? 1 : 0;
    }
  }
  const std::shared_ptr<Sink> together = Send(padded);
  Run();
  ASSERT_TRUE(together->last.status.ok()) << together->last.status.error().message;
  const Tensor& all = together->last.outputs[0].tensor;
  for (int64_t row = 0; row < 3; ++row) {
    const int64_t length = lengths[static_cast<size_t>(row)];
    Inputs own;
    for (const tensor::NamedTensor& input : padded) {
      Tensor cut = Tensor::Allocate(DType::kI64, Shape({1, length}), 1 << 20).value();
      std::memcpy(cut.buffer.mutable_data(), input.tensor.buffer.data() + row * 12 * 8,
                  static_cast<size_t>(length * 8));
      own.push_back({input.name, cut});
    }
    const std::shared_ptr<Sink> alone = Send(own);
    Run();
    const Tensor& one = alone->last.outputs[0].tensor;
    EXPECT_EQ(std::memcmp(one.buffer.data(), all.buffer.data() + row * one.view().bytes(),
                          static_cast<size_t>(one.view().bytes())),
              0)
        << "row " << row;
  }
}

// Rows of padding differ from those of the interpreter by rounding alone, whatever the mask.
TEST_F(InferEngineTest, AMaskWithHolesIsTakenAtItsWord) {
  Load("bert_encoder_ts15");
  const std::shared_ptr<Sink> holes = Send(OddBertInputs(2, 9, 3));
  Run();
  Inputs shifted = OddBertInputs(2, 9, 3);
  for (int64_t row = 0; row < 2; ++row) {
    shifted[0].tensor.mutable_view().as<int64_t>()[row * 9] = 33;  // an id that the mask hides
  }
  const std::shared_ptr<Sink> same = Send(shifted);
  Run();
  ASSERT_TRUE(holes->last.status.ok() && same->last.status.ok());
  const Tensor& a = holes->last.outputs[0].tensor;
  const Tensor& b = same->last.outputs[0].tensor;
  for (int64_t i = 0; i < a.shape.elements(); ++i) {
    EXPECT_NEAR(a.view().as<float>()[i], b.view().as<float>()[i], 1e-5F);
  }
}

TEST_F(InferEngineTest, ABadIdAmongTextsWithoutPaddingFailsItsOwnRequest) {
  Load("bert_encoder_ts15");
  std::vector<std::shared_ptr<Sink>> sinks;
  for (uint32_t i = 0; i < 4; ++i) {
    Inputs inputs = BertInputs(2, 5 + i, i);
    if (i == 2) inputs[0].tensor.mutable_view().as<int64_t>()[1] = 1'000'000;
    sinks.push_back(Send(std::move(inputs)));
  }
  Run();
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(sinks[i]->last.status.ok(), i != 2) << i;
}

TEST_F(InferEngineTest, RowsThatDoNotFitIntoTheMemoryRunInPartsWithTheSameBits) {
  Load("bert_encoder_ts15");
  const std::shared_ptr<Sink> whole = Send(BertInputs(40, 12, 1));
  Run();
  TearDown();
  Options options;
  options.activation_bytes_max = 1 << 20;
  Load("bert_encoder_ts15", options);
  std::vector<std::shared_ptr<Sink>> parts = {Send(BertInputs(40, 12, 1)),
                                              Send(BertInputs(700, 12, 2))};
  Run();
  ASSERT_TRUE(parts[0]->answered && parts[1]->answered);
  ASSERT_TRUE(parts[1]->last.status.ok()) << parts[1]->last.status.error().message;
  const Tensor& a = whole->last.outputs[0].tensor;
  const Tensor& b = parts[0]->last.outputs[0].tensor;
  ASSERT_EQ(a.shape, b.shape);
  EXPECT_EQ(std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())),
            0);
}

TEST_F(InferEngineTest, ABadIndexFailsItsOwnRequestAndNoOther) {
  Load("deepfm_ts14");
  std::vector<std::shared_ptr<Sink>> sinks;
  for (uint32_t i = 0; i < 5; ++i) {
    Inputs inputs = DeepFmInputs(2, i);
    if (i == 3) inputs[0].tensor.mutable_view().as<int64_t>()[7] = 1'000'000;
    sinks.push_back(Send(std::move(inputs)));
  }
  Run();
  for (uint32_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(sinks[i]->answered);
    EXPECT_EQ(sinks[i]->last.status.ok(), i != 3);
  }
  EXPECT_EQ(sinks[3]->last.status.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(sinks[3]->last.status.error().message.find("is outside [0, "), std::string::npos)
      << sinks[3]->last.status.error().message;
}

TEST_F(InferEngineTest, RequestsThatRunInPartsSurviveABadNeighbourWithTheSameBits) {
  Options options;
  options.activation_bytes_max = 1 << 20;
  Load("bert_encoder_ts15", options);
  std::vector<std::shared_ptr<Sink>> alone, together;
  const std::vector<int64_t> rows = {199, 53};
  for (uint32_t i = 0; i < rows.size(); ++i) {
    alone.push_back(Send(BertInputs(rows[i], 12, i)));
    Run();
  }
  for (uint32_t i = 0; i < rows.size(); ++i) {
    Inputs inputs = BertInputs(rows[i], 12, i);
    if (i == 1) inputs[0].tensor.mutable_view().as<int64_t>()[7] = 1'000'000;
    together.push_back(Send(std::move(inputs)));
  }
  Run();
  for (uint32_t i = 0; i < rows.size(); ++i) {
    ASSERT_TRUE(together[i]->answered);
    ASSERT_EQ(together[i]->last.status.ok(), i != 1);
    if (i == 1) continue;
    const Tensor& a = alone[i]->last.outputs[0].tensor;
    const Tensor& b = together[i]->last.outputs[0].tensor;
    EXPECT_EQ(std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())),
              0)
        << "request " << i;
  }
}

TEST_F(InferEngineTest, DifferentShapesOfOneKeyNeverShareAStep) {
  Load("bert_encoder_ts15");
  std::vector<std::shared_ptr<Sink>> sinks;
  for (const int64_t length : {7, 12, 7}) {
    sinks.push_back(std::make_shared<Sink>());
    auto request = Request(OddBertInputs(2, length, 1), sinks.back());
    ASSERT_TRUE(pin_->engine().Prepare(*request).ok());
    static_cast<PreparedRequest&>(*request->prepared).shape = 42;
    engine::Submit(pin_, std::move(request));
  }
  Run();
  EXPECT_TRUE(sinks[0]->last.status.ok());
  EXPECT_STREQ(sinks[1]->last.reason, engine::reason::kQueueFull);
  EXPECT_TRUE(sinks[2]->last.status.ok());
  EXPECT_EQ(sinks[2]->last.timings.batch_rows, 4);
  // Nothing of that key waits any more: it is free for the other shape.
  auto later = std::make_shared<Sink>();
  auto request = Request(OddBertInputs(2, 12, 1), later);
  ASSERT_TRUE(pin_->engine().Prepare(*request).ok());
  static_cast<PreparedRequest&>(*request->prepared).shape = 42;
  engine::Submit(pin_, std::move(request));
  Run();
  EXPECT_TRUE(later->last.status.ok());
}

TEST_F(InferEngineTest, AStepJoinsOnlyAsManyRowsAsItsAnswersMayTake) {
  Options options;
  options.output_bytes_max = 40;
  Load("deepfm_ts14", options);
  const int64_t rows_max = pin_->description().batch_rows_max;
  EXPECT_GE(rows_max, 1);
  EXPECT_LE(rows_max, 10) << "a row's answer takes at least four bytes";
  std::vector<std::shared_ptr<Sink>> sinks;
  for (uint32_t i = 0; i < 30; ++i) sinks.push_back(Send(DeepFmInputs(1, i)));
  Run();
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->answered && sink->last.status.ok());
    EXPECT_LE(sink->last.timings.batch_rows, rows_max);
  }
}

TEST_F(InferEngineTest, AWrongRequestIsToldWhatWasExpectedAndWhatCame) {
  Load("deepfm_ts14");
  std::mt19937 random(1);
  EXPECT_EQ(PrepareError({{"ids", Ints({1, 6}, 40, random)}}),
            "input 'dense' of model 'deepfm_ts14' is missing");
  EXPECT_EQ(PrepareError({{"ids", Ints({1, 5}, 40, random)}, {"dense", Floats({1, 4}, random)}}),
            "input 'ids' has shape [1, 5], expected [-1, 6]");
  EXPECT_EQ(PrepareError({{"ids", Floats({1, 6}, random)}, {"dense", Floats({1, 4}, random)}}),
            "input 'ids' has datatype FP32, expected INT64");
  EXPECT_EQ(PrepareError({{"ids", Ints({2, 6}, 40, random)}, {"dense", Floats({3, 4}, random)}}),
            "input 'dense' has 3 rows, input 'ids' has 2");
  EXPECT_EQ(PrepareError({{"idz", Ints({2, 6}, 40, random)}}),
            "model 'deepfm_ts14' has no input 'idz'; it has 'ids', 'dense'");
}

// A tokenizer over a dozen words, ids below the test encoder's 80.
constexpr const char* kTokenizer = R"({"version": "1.0", "truncation": null, "padding": null,
"added_tokens": [SPECIAL(0, "[PAD]"), SPECIAL(1, "[UNK]"),
 SPECIAL(2, "[CLS]"), SPECIAL(3, "[SEP]")],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
 "strip_accents": null, "lowercase": true},
"pre_tokenizer": {"type": "BertPreTokenizer"},
"post_processor": {"type": "TemplateProcessing",
 "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
 "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
          {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
          {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
 "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                    "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
"decoder": null,
"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
 "max_input_chars_per_word": 100,
 "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "red": 4, "shoes": 5, "for": 6,
           "runner": 7, "##s": 8, "cheap": 9}}})";

// kTokenizer with its SPECIAL(id, "content") written out.
std::string TokenizerJson() {
  std::string json = kTokenizer;
  for (size_t at = json.find("SPECIAL("); at != std::string::npos; at = json.find("SPECIAL(")) {
    const size_t comma = json.find(", ", at);
    const size_t end = json.find(')', comma);
    const std::string id = json.substr(at + 8, comma - at - 8);
    const std::string content = json.substr(comma + 2, end - comma - 2);
    json.replace(at, end + 1 - at,
                 "{\"id\": " + id + ", \"content\": " + content +
                     ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                     "\"normalized\": false, \"special\": true}");
  }
  return json;
}

class TextTest : public InferEngineTest {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/sluice_text_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    std::filesystem::copy_file(kGraphs + "/bert_encoder_ts15.onnx", folder_ + "/model.onnx",
                               std::filesystem::copy_options::overwrite_existing);
    std::ofstream(folder_ + "/tokenizer.json") << TokenizerJson();
    Options options;
    options.model = "encoder";
    LoadFolder(folder_, options);
  }
  void TearDown() override {
    InferEngineTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  static tensor::NamedTensor Texts(const char* name, const std::vector<std::string>& texts) {
    return {name, Tensor::FromStrings({static_cast<int64_t>(texts.size())}, texts)};
  }
  static Tensor Rows(int64_t rows, int64_t columns, const std::vector<int64_t>& values) {
    Tensor tensor = Tensor::Allocate(DType::kI64, {rows, columns}, 1 << 20).value();
    std::copy(values.begin(), values.end(), tensor.mutable_view().as<int64_t>());
    return tensor;
  }
  std::string folder_;
};

TEST_F(TextTest, ManyEmptyTextsBesideALongOneAreRefusedBeforeTheyArePadded) {
  std::vector<std::string> texts(300'000);
  EXPECT_EQ(PrepareError({Texts("text", texts)}), "");
  for (int i = 0; i < 30; ++i) texts[7] += "shoes ";
  EXPECT_EQ(PrepareError({Texts("text", texts)}),
            "input 'text' has 300000 texts, the longest 24 tokens: padded, they are above 4194304 "
            "tokens");
}

TEST_F(TextTest, ATextAnswersWhatItsIdsAnswer) {
  const auto text = Send({Texts("text", {"Red shoes", "cheap runners"}),
                          Texts("text_pair", {"for runners", "shoes"})});
  const auto ids =
      Send({{"input_ids", Rows(2, 8, {2, 4, 5, 3, 6, 7, 8, 3, 2, 9, 7, 8, 3, 5, 3, 0})},
            {"attention_mask", Rows(2, 8, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0})},
            {"token_type_ids", Rows(2, 8, {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0})}});
  Run();
  ASSERT_TRUE(text->answered && ids->answered);
  ASSERT_TRUE(text->last.status.ok()) << text->last.status.error().message;
  ASSERT_TRUE(ids->last.status.ok()) << ids->last.status.error().message;
  const Tensor& a = text->last.outputs[0].tensor;
  const Tensor& b = ids->last.outputs[0].tensor;
  ASSERT_EQ(a.shape, b.shape);
  EXPECT_EQ(std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())),
            0);
  EXPECT_TRUE(text->last.parameters.empty());
}

TEST_F(TextTest, ATextThatWasCutIsAnsweredWithANotice) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "shoes ";
  const auto cut = Send({Texts("text", {text})});
  Run();
  ASSERT_TRUE(cut->answered);
  ASSERT_TRUE(cut->last.status.ok()) << cut->last.status.error().message;
  ASSERT_EQ(cut->last.parameters.size(), 2U);
  EXPECT_EQ(cut->last.parameters[0].first, "truncated");
  EXPECT_EQ(cut->last.parameters[1].first, "tokens_max");
  // The encoder's table of positions has 24 rows.
  EXPECT_EQ(std::get<int64_t>(cut->last.parameters[1].second), 24);
}

TEST_F(TextTest, TextsThatDoNotFitTogetherAreRefused) {
  EXPECT_EQ(PrepareError({Texts("text", {"a", "b"}), Texts("text_pair", {"c"})}),
            "input 'text' has 2 rows, input 'text_pair' has 1");
  EXPECT_EQ(PrepareError({Texts("text_pair", {"c"})}),
            "input 'text' of model 'encoder' is missing");
  EXPECT_EQ(PrepareError({{"text", Rows(1, 1, {1})}}),
            "input 'text' has datatype INT64, expected BYTES");
  EXPECT_EQ(PrepareError({Texts("text", {"a"}), {"input_ids", Rows(1, 2, {1, 2})}}),
            "input 'input_ids' is given beside 'text', which makes it");
}

TEST_F(InferEngineTest, AModelThatMixesRowsIsNotJoined) {
  Load("matrix_forms_ts16");
  EXPECT_EQ(pin_->description().batch_rows_max, 0);
  EXPECT_NE(pin_->description().batch_reason.find("batch"), std::string::npos);
}

TEST_F(InferEngineTest, TheWarmUpRequestIsAnswered) {
  Load("bert_encoder_ts15");
  auto request = MakeWarmUp(static_cast<const InferEngine&>(pin_->engine()), 2);
  ASSERT_TRUE(request.ok()) << request.error().message;
  auto sink = std::make_shared<Sink>();
  (*request)->sink = sink;
  engine::Submit(pin_, std::move(*request));
  Run();
  ASSERT_TRUE(sink->answered);
  EXPECT_TRUE(sink->last.status.ok());
}

TEST_F(InferEngineTest, AnInterpretedModelIsNoShortStepBeforeItWasMeasured) {
  const std::string folder = ::testing::TempDir() + "/interpreted";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file("tests/fuzz/corpus/onnx_fuzz/loop", folder + "/model.onnx",
                             std::filesystem::copy_options::overwrite_existing);
  auto loaded = infer::Load(folder, {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  auto& engine = static_cast<InferEngine&>(**loaded);
  ASSERT_TRUE(engine.served().graph->interpreted());
  auto request = MakeWarmUp(engine, 1);
  ASSERT_TRUE(request.ok()) << request.error().message;
  const std::shared_ptr<engine::Call> call = (*request)->call;
  engine::Outlook outlook;
  outlook.now = outlook.device_free = clock_.Now();
  ASSERT_EQ(engine.Admit(*request, outlook), engine::Admission::kQueued);
  const engine::Offer* offer = engine.BestOffer(clock_.Now(), engine::WorkClass::kUntimed);
  ASSERT_NE(offer, nullptr);
  EXPECT_FALSE(offer->cost.measured);
  EXPECT_GE(offer->cost.predicted, engine::DeviceLoop::Options().inline_below);
  call->Cancel();
  engine::Replies replies;
  engine.Sweep(clock_.Now(), replies);
}

TEST_F(InferEngineTest, OnlyTheOutputsThatWereAskedForAreAnswered) {
  Load("top_and_gather_ts17");
  std::mt19937 random(3);
  auto sink = std::make_shared<Sink>();
  auto request =
      Request({{"scores", Floats({2, 8}, random)}, {"rows", Floats({2, 8, 4}, random)}}, sink);
  const std::string wanted = pin_->description().outputs[1].name;
  request->outputs = {wanted};
  ASSERT_TRUE(pin_->engine().Prepare(*request).ok());
  engine::Submit(pin_, std::move(request));
  Run();
  ASSERT_TRUE(sink->answered);
  ASSERT_TRUE(sink->last.status.ok());
  ASSERT_EQ(sink->last.outputs.size(), 1U);
  EXPECT_EQ(sink->last.outputs[0].name, wanted);
}

}  // namespace
}  // namespace sluice::infer
