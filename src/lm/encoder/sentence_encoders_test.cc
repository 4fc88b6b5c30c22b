// Encoders and their heads against transformers and sentence-transformers:
// tests/conformance/sentence_encoders, made by python/export_sentence_encoders.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "kernels/target.h"
#include "lm/checkpoint/safetensors_checkpoint.h"
#include "lm/encoder/encoder.h"
#include "lm/encoder/encoder_head.h"
#include "lm/encoder/sentence_modules.h"
#include "tensor/safetensors.h"

namespace sluice::lm {
namespace {

const std::string kFolder = "tests/conformance/sentence_encoders/";

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// One model and what is expected of it.
class Fixture {
 public:
  explicit Fixture(const std::string& name) : folder_(kFolder + name) {
    auto config = ParseEncoderConfig(Read(folder_ + "/config.json"));
    EXPECT_TRUE(config.ok()) << config.error().message;
    config_ = *config;
    auto checkpoint = SafetensorsCheckpoint::Open(folder_);
    EXPECT_TRUE(checkpoint.ok());
    checkpoint_ = std::make_unique<SafetensorsCheckpoint>(*std::move(checkpoint));
    auto modules = ReadSentenceModules(folder_);
    EXPECT_TRUE(modules.ok()) << modules.error().message;
    modules_ = *modules;
    auto head = config_.labels.empty() ? EncoderHead::LoadEmbedding(folder_, modules_, config_)
                                       : EncoderHead::LoadClassifier(*checkpoint_, config_);
    EXPECT_TRUE(head.ok()) << head.error().message;
    head_ = *std::move(head);
    auto expected = tensor::Safetensors::Open(folder_ + "/expected.safetensors");
    EXPECT_TRUE(expected.ok());
    expected_ = std::make_unique<tensor::Safetensors>(*std::move(expected));
  }

  template <class T>
  std::vector<T> Expected(const char* name) const {
    const auto span = expected_->Find(name)->view.span<T>();
    return {span.begin(), span.end()};
  }
  Encoder Load(kernels::WeightForm form) const {
    auto encoder = Encoder::Load(*checkpoint_, config_, form);
    EXPECT_TRUE(encoder.ok()) << encoder.error().message;
    return *std::move(encoder);
  }
  // The sequences [first, end) of the expected tokens.
  EncoderRows Rows(size_t first, size_t end) const {
    const auto ids = Expected<int32_t>("ids"), types = Expected<int32_t>("types");
    const auto lengths = Expected<int32_t>("lengths");
    EncoderRows rows;
    size_t at = 0;
    for (size_t i = 0; i < std::min(end, lengths.size()); ++i) {
      const auto count = static_cast<size_t>(lengths[i]);
      if (i >= first) {
        rows.Add(std::span(ids).subspan(at, count), config_.types > 1
                                                        ? std::span(types).subspan(at, count)
                                                        : std::span<const int32_t>());
      }
      at += count;
    }
    return rows;
  }
  size_t sequences() const { return Expected<int32_t>("lengths").size(); }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const EncoderConfig& config() const { return config_; }
  const EncoderHead& head() const { return head_; }
  const SentenceModules& modules() const { return modules_; }

 private:
  std::string folder_;
  EncoderConfig config_;
  SentenceModules modules_;
  std::unique_ptr<SafetensorsCheckpoint> checkpoint_;
  std::unique_ptr<tensor::Safetensors> expected_;
  EncoderHead head_;
};

struct Answer {
  std::vector<float> hidden;  // [rows, hidden]
  std::vector<float> vectors;
};

Answer Ask(const Fixture& fixture, const Encoder& encoder, const EncoderRows& rows,
           base::ThreadPool* pool = nullptr) {
  // What nobody wrote must not matter, and what lies behind stays as it is.
  constexpr int64_t kBehind = 4096;
  const auto allocate = [](int64_t bytes) {
    tensor::Buffer memory = tensor::Buffer::Allocate(bytes + kBehind);
    std::memset(memory.mutable_data(), 0xff, static_cast<size_t>(memory.bytes()));
    return memory;
  };
  tensor::Buffer memory = allocate(encoder.MemoryBytes(rows.rows()));
  tensor::Buffer more = allocate(fixture.head().MemoryBytes(rows.sequences()));
  Runner runner({.pool = pool});
  const float* const hidden = encoder.Run(rows, memory.mutable_data(), runner);
  Answer answer;
  answer.hidden.assign(hidden, hidden + rows.rows() * encoder.config().hidden);
  const float* const vectors = fixture.head().Run(hidden, rows, more.mutable_data(), runner);
  answer.vectors.assign(vectors, vectors + rows.sequences() * fixture.head().width());
  for (const tensor::Buffer* buffer : {&memory, &more}) {
    const std::byte* const end = buffer->data() + buffer->bytes();
    EXPECT_TRUE(std::all_of(end - kBehind, end, [](std::byte b) { return b == std::byte{0xff}; }));
  }
  return answer;
}

double Worst(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double distance = std::fabs(static_cast<double>(got[i]) - want[i]);
    worst = distance <= worst ? worst : distance;
  }
  return worst;
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, left = 0, right = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    left += static_cast<double>(a[i]) * a[i];
    right += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(left * right);
}

void Normalize(std::vector<float>& vectors, int64_t width) {
  for (size_t at = 0; at < vectors.size(); at += static_cast<size_t>(width)) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double x = vectors[at + static_cast<size_t>(i)];
      sum += x * x;
    }
    for (int64_t i = 0; i < width; ++i) {
      float& x = vectors[at + static_cast<size_t>(i)];
      x = static_cast<float>(x / std::sqrt(sum));
    }
  }
}

class SentenceEncodersTest : public testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { kernels::SetTargetForTesting(kernels::AvailableTargets().back()); }
};

TEST_P(SentenceEncodersTest, GivesTheHiddenStatesAndVectorsOfTheReference) {
  const Fixture fixture(GetParam());
  for (const kernels::Target target : kernels::AvailableTargets()) {
    kernels::SetTargetForTesting(target);
    const Fixture own(GetParam());
    Answer answer = Ask(own, own.Load(kernels::WeightForm::kF32), own.Rows(0, 100));
    EXPECT_LT(Worst(answer.hidden, own.Expected<float>("hidden")), 2e-4) << TargetName(target);
    if (own.modules().normalize && own.config().labels.empty()) {
      Normalize(answer.vectors, own.head().width());
    }
    const char* const name = own.config().labels.empty() ? "embedding" : "logits";
    EXPECT_LT(Worst(answer.vectors, own.Expected<float>(name)), 2e-4) << TargetName(target);
  }
}

TEST_P(SentenceEncodersTest, ASequenceHasTheSameBitsAloneAndInAnyBatch) {
  for (const kernels::Target target : kernels::AvailableTargets()) {
    kernels::SetTargetForTesting(target);
    const Fixture fixture(GetParam());
    base::ThreadPool::Options options;
    options.workers = 1;
    base::ThreadPool pool(options);
    for (int form = 0; form < kernels::kWeightFormCount; ++form) {
      const Encoder encoder = fixture.Load(static_cast<kernels::WeightForm>(form));
      const Answer all = Ask(fixture, encoder, fixture.Rows(0, 100), &pool);
      std::vector<float> hidden, vectors;
      for (size_t i = 0; i < fixture.sequences(); ++i) {
        const Answer one = Ask(fixture, encoder, fixture.Rows(i, i + 1));
        hidden.insert(hidden.end(), one.hidden.begin(), one.hidden.end());
        vectors.insert(vectors.end(), one.vectors.begin(), one.vectors.end());
      }
      EXPECT_EQ(hidden, all.hidden) << TargetName(target) << " form " << form;
      EXPECT_EQ(vectors, all.vectors) << TargetName(target) << " form " << form;
    }
  }
}

TEST_P(SentenceEncodersTest, StaysNearInNarrowForms) {
  const Fixture fixture(GetParam());
  for (int form = 1; form < kernels::kWeightFormCount; ++form) {
    const Encoder encoder = fixture.Load(static_cast<kernels::WeightForm>(form));
    const Answer answer = Ask(fixture, encoder, fixture.Rows(0, 100));
    EXPECT_GT(Cosine(answer.hidden, fixture.Expected<float>("hidden")), 0.998) << "form " << form;
  }
}

// The same tensors under other names.
class Renamed : public Checkpoint {
 public:
  Renamed(const Checkpoint& from, std::string prefix) : from_(from), prefix_(std::move(prefix)) {}
  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    if (name.rfind(prefix_, 0) != 0) return base::NotFound(name);
    std::string own = name.substr(prefix_.size());
    const auto replace = [&](const std::string& there, const std::string& here) {
      const size_t at = own.find(there);
      if (at != std::string::npos) own.replace(at, there.size(), here);
    };
    if (own.find("LayerNorm.weight") != std::string::npos) return base::NotFound(name);
    replace("LayerNorm.gamma", "LayerNorm.weight");
    replace("LayerNorm.beta", "LayerNorm.bias");
    return from_.Find(own);
  }

 private:
  const Checkpoint& from_;
  const std::string prefix_;
};

TEST(SentenceEncoders, OlderNamesOfTensorsAreTheSameModel) {
  const Fixture fixture("minilm");
  const EncoderRows rows = fixture.Rows(0, 3);
  const Answer want = Ask(fixture, fixture.Load(kernels::WeightForm::kF32), rows);
  const Renamed renamed(fixture.checkpoint(), "bert.");
  const auto encoder = Encoder::Load(renamed, fixture.config(), kernels::WeightForm::kF32);
  ASSERT_TRUE(encoder.ok()) << encoder.error().message;
  EXPECT_EQ(Ask(fixture, *encoder, rows).hidden, want.hidden);
}

TEST(SentenceEncoders, ATensorOfAnotherShapeIsNamed) {
  const Fixture fixture("minilm");
  EncoderConfig config = fixture.config();
  config.feed_forward += 1;
  const auto encoder = Encoder::Load(fixture.checkpoint(), config, kernels::WeightForm::kF32);
  ASSERT_FALSE(encoder.ok());
  EXPECT_NE(encoder.error().message.find("encoder.layer.0.intermediate.dense.weight"),
            std::string::npos)
      << encoder.error().message;
}

TEST(SentenceEncoders, AnAbandonedStepGivesNothing) {
  struct Abandoning : engine::Safepoint {
    bool Reach() override { return --left > 0; }
    base::Duration quantum() const override { return base::Duration::Micros(1); }
    int left = 5;
  } safepoint;
  const Fixture fixture("modernbert");
  const Encoder encoder = fixture.Load(kernels::WeightForm::kF32);
  const EncoderRows rows = fixture.Rows(0, 100);
  tensor::Buffer memory = tensor::Buffer::Allocate(encoder.MemoryBytes(rows.rows()));
  Runner runner({.safepoint = &safepoint});
  EXPECT_EQ(encoder.Run(rows, memory.mutable_data(), runner), nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, SentenceEncodersTest,
                         testing::Values("minilm", "bert_dense", "roberta", "xlm_roberta",
                                         "modernbert", "bert_reranker", "roberta_classes",
                                         "xlm_roberta_reranker", "modernbert_reranker"),
                         [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace sluice::lm
