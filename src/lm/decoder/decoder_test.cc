// A trained model against logits of an independent implementation, and the same bits however its
// tokens are cut into steps.
#include "lm/decoder/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"
#include "kv/prefix_cache.h"
#include "lm/checkpoint/llama2c.h"
#include "lm/checkpoint/test_checkpoint.h"

namespace sluice::lm {
namespace {

using Tokens = std::vector<int32_t>;

const std::string kStories = std::string(SLUICE_SHARED_DATA) + "/language-model/stories260K";

struct Prompt {
  Tokens tokens;       // the prompt and what greedy decoding appends to it
  int64_t prompt = 0;  // of these, the prompt's
  int64_t logits_offset = 0;
};

std::vector<Prompt> ReadPrompts() {
  std::ifstream file(kStories + "/golden/greedy.json");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  base::JsonDocument document;
  const auto json = document.Parse(text);
  std::vector<Prompt> prompts;
  const auto read = [](base::JsonValue from, Tokens& to) {
    const size_t before = to.size();
    to.resize(before + static_cast<size_t>(from.size()));
    return from.ReadNumbers(std::span(to).subspan(before));
  };
  const base::Status status = json->ForEachElement([&](base::JsonValue one) -> base::Status {
    Prompt prompt;
    const base::JsonValue own = TRY(one.Get("prompt_ids"));
    const base::JsonValue greedy = TRY(one.Get("greedy_ids"));
    const base::JsonValue offset = TRY(one.Get("logits_offset_floats"));
    TRY(read(own, prompt.tokens));
    prompt.prompt = static_cast<int64_t>(prompt.tokens.size());
    TRY(read(greedy, prompt.tokens));
    prompt.logits_offset = TRY(offset.AsInt());
    prompts.push_back(std::move(prompt));
    return base::Ok();
  });
  EXPECT_TRUE(status.ok());
  return prompts;
}

// A model with a cache of its own.
class Session {
 public:
  Session(const Checkpoint& checkpoint, const DecoderConfig& config, Decoder::Options options)
      : decoder_(*Decoder::Load(checkpoint, config, options)),
        cache_({.blocks = kBlocks, .block_rows = static_cast<int32_t>(kernels::kCacheBlockRows)}),
        domain_(cache_.Domain("")) {
    memory_.type = options.cache_type;
    memory_.layer_bytes = decoder_.cache_layer_bytes();
    memory_.block_bytes = decoder_.cache_block_bytes();
    blocks_ = tensor::Buffer::Allocate(kBlocks * memory_.block_bytes + 64);
    // What was never written must not matter.
    std::memset(blocks_.mutable_data(), 0xff, static_cast<size_t>(blocks_.bytes()));
    memory_.data = blocks_.mutable_data();
  }

  const Decoder& decoder() const { return decoder_; }
  kv::PrefixCache& cache() { return cache_; }
  kv::DomainId domain() const { return domain_; }

  // Computes positions [from, to) of each sequence in one step; every row's logits.
  struct Part {
    kv::Sequence* sequence;
    const Tokens* tokens;
    int64_t to;
  };
  std::vector<float> Run(const std::vector<Part>& parts) {
    StepRows rows;
    std::vector<int64_t> begins;
    for (const Part& part : parts) {
      begins.push_back(part.sequence->length);
      EXPECT_TRUE(cache_.Extend(*part.sequence, part.to, rows.copies));
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      rows.Add(*parts[i].sequence, *parts[i].tokens, begins[i], parts[i].to);
    }
    for (int32_t row = 0; row < rows.rows(); ++row) rows.logit_rows.push_back(row);
    tensor::Buffer memory =
        tensor::Buffer::Allocate(decoder_.MemoryBytes(rows.rows(), rows.rows()));
    Runner runner({});
    const float* const logits = decoder_.Run(rows, memory_, memory.mutable_data(), runner);
    EXPECT_NE(logits, nullptr);
    return {logits, logits + rows.rows() * decoder_.config().vocabulary};
  }
  std::vector<float> RunOne(kv::Sequence& sequence, const Tokens& tokens, int64_t to) {
    return Run({{&sequence, &tokens, to}});
  }

 private:
  static constexpr int32_t kBlocks = 64;
  Decoder decoder_;
  kv::PrefixCache cache_;
  kv::DomainId domain_;
  CacheMemory memory_;
  tensor::Buffer blocks_;
};

int32_t Greedy(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

class StoriesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto checkpoint = Llama2cCheckpoint::Open(kStories + "/checkpoint_legacy.bin");
    if (!checkpoint.ok()) GTEST_SKIP() << "no model: " << checkpoint.error().message;
    checkpoint_ = std::make_unique<Llama2cCheckpoint>(*std::move(checkpoint));
    prompts_ = ReadPrompts();
    ASSERT_EQ(prompts_.size(), 5u);
  }
  Session Make(tensor::DType cache_type) const {
    return {*checkpoint_, checkpoint_->config(), {.cache_type = cache_type}};
  }

  std::unique_ptr<Llama2cCheckpoint> checkpoint_;
  std::vector<Prompt> prompts_;
};

TEST_F(StoriesTest, GivesTheLogitsOfAnIndependentImplementation) {
  constexpr int64_t kPositions = 32;
  const auto golden = base::MappedFile::Open(kStories + "/golden/logits_f32.bin");
  ASSERT_TRUE(golden.ok());
  Session session = Make(tensor::DType::kF32);
  for (const Prompt& prompt : prompts_) {
    kv::Sequence sequence;
    const std::vector<float> logits = session.RunOne(sequence, prompt.tokens, kPositions);
    const auto* const want = reinterpret_cast<const float*>(golden->data()) + prompt.logits_offset;
    double worst = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(logits[i]) - want[i]));
    }
    EXPECT_LT(worst, 2e-4) << "prompt of " << prompt.prompt << " tokens";
    session.cache().Release(sequence);
  }
}

TEST_F(StoriesTest, DecodesGreedilyAsAnIndependentImplementation) {
  Session session = Make(tensor::DType::kF32);
  for (const Prompt& prompt : prompts_) {
    Tokens tokens(prompt.tokens.begin(), prompt.tokens.begin() + prompt.prompt);
    kv::Sequence sequence;
    while (tokens.size() < prompt.tokens.size()) {
      const std::vector<float> logits =
          session.RunOne(sequence, tokens, static_cast<int64_t>(tokens.size()));
      tokens.push_back(Greedy(std::span(logits).last(512)));
    }
    EXPECT_EQ(tokens, prompt.tokens);
    session.cache().Release(sequence);
  }
}

TEST_F(StoriesTest, GivesTheSameBitsInEveryCutIntoSteps) {
  for (const tensor::DType type :
       {tensor::DType::kF32, tensor::DType::kF16, tensor::DType::kBF16}) {
    Session session = Make(type);
    std::vector<std::vector<float>> whole;
    for (const Prompt& prompt : prompts_) {
      kv::Sequence sequence;
      whole.push_back(session.RunOne(sequence, prompt.tokens, 100));
      session.cache().Release(sequence);
    }
    std::mt19937 random(7);
    std::vector<kv::Sequence> sequences(prompts_.size());
    std::vector<std::vector<float>> cut(prompts_.size());
    for (;;) {
      std::vector<Session::Part> parts;
      std::vector<size_t> members;
      for (size_t s = 0; s < sequences.size(); ++s) {
        const int64_t step = random() % 2 == 0 ? 1 : static_cast<int64_t>(random() % 40);
        const int64_t to = std::min<int64_t>(100, sequences[s].length + step);
        if (to == sequences[s].length) continue;
        parts.push_back({&sequences[s], &prompts_[s].tokens, to});
        members.push_back(s);
      }
      if (parts.empty()) {
        if (cut[0].size() == whole[0].size()) break;
        continue;
      }
      std::vector<int64_t> counts;
      for (const Session::Part& part : parts) counts.push_back(part.to - part.sequence->length);
      const std::vector<float> logits = session.Run(parts);
      auto at = logits.begin();
      for (size_t i = 0; i < members.size(); ++i) {
        cut[members[i]].insert(cut[members[i]].end(), at, at + counts[i] * 512);
        at += counts[i] * 512;
      }
      if (std::all_of(sequences.begin(), sequences.end(),
                      [](const kv::Sequence& s) { return s.length == 100; })) {
        break;
      }
    }
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_EQ(std::memcmp(cut[s].data(), whole[s].data(), whole[s].size() * sizeof(float)), 0)
          << "sequence " << s << " with a cache of " << DTypeName(type);
      session.cache().Release(sequences[s]);
    }
  }
}

TEST_F(StoriesTest, GivesTheSameBitsBehindACachedPrefix) {
  Session session = Make(tensor::DType::kF16);
  const Tokens& tokens = prompts_[1].tokens;
  kv::Sequence cold;
  session.cache().Attach(session.domain(), {}, 0, cold);
  const std::vector<float> want = session.RunOne(cold, tokens, 90);
  session.cache().Publish(cold, std::span(tokens).first(90), 0);
  session.cache().Release(cold);
  for (const int64_t shared : {1, 31, 32, 50, 89}) {
    // Another continuation leaves the shared prefix inside a block, then ours comes back to it.
    Tokens other(tokens.begin(), tokens.begin() + shared);
    other.push_back(tokens[static_cast<size_t>(shared)] == 5 ? 6 : 5);
    for (const Tokens* one : std::initializer_list<const Tokens*>{&other, &tokens}) {
      const auto count = std::min<int64_t>(90, static_cast<int64_t>(one->size()));
      kv::Sequence warm;
      const int64_t found = session.cache().Attach(
          session.domain(), std::span(*one).first(static_cast<size_t>(count - 1)), 0, warm);
      EXPECT_GE(found, std::min(shared, count - 1));
      const std::vector<float> got = session.RunOne(warm, *one, count);
      if (one == &tokens) {
        EXPECT_EQ(std::memcmp(got.data(), want.data() + found * 512, got.size() * sizeof(float)),
                  0);
      }
      session.cache().Publish(warm, std::span(*one).first(static_cast<size_t>(count)), 0);
      session.cache().Release(warm);
    }
  }
}

TEST(Decoder, CountsItsEmbeddingAndNormsAmongItsWeights) {
  const DecoderConfig config = SmallConfig();
  const Decoder decoder =
      *Decoder::Load(RandomCheckpoint(config), config, {.form = *LinearForm::Parse("int8")});
  const int64_t norms = (2 * config.layers + 1) * config.hidden;
  EXPECT_EQ(decoder.weight_bytes() - decoder.product_bytes(),
            (config.vocabulary * config.hidden + norms) * 4);
}

TEST(Decoder, LogitsTakeNoMemoryBesideThatOfTheLayers) {
  const DecoderConfig config = SmallConfig();
  const Decoder decoder = *Decoder::Load(RandomCheckpoint(config), config, {});
  EXPECT_EQ(decoder.MemoryBytes(256, 64), decoder.MemoryBytes(256, 0));
  // Where they are more than the layers need.
  EXPECT_GT(decoder.MemoryBytes(256, 500), decoder.MemoryBytes(256, 0));
}

}  // namespace
}  // namespace sluice::lm
