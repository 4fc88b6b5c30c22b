// decoder_bench [FORM [THREADS [MODEL]]]: one stream and prompts of a decoder with random weights
// of a real shape, without an engine: milliseconds a token, bytes of weights read in that time
// beside what the same threads read in turns with it, tokens a second of a prompt, items scored by
// labels behind a common beginning with the whole head and with the labels' columns alone, time
// between safepoints. FORM: f32, bf16, int8, int4, int4_g128, …, or a format of GGUF: q8_0, q4_0,
// q4_k, …; MODEL: qwen2.5-0.5b or llama-3.2-1b.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/roof.h"
#include "lm/checkpoint/test_checkpoint.h"
#include "lm/decoder/decoder.h"
#include "tensor/float16.h"

namespace {

using namespace sluice;

// Seeded values of every tensor that is asked for, others for each name: equal weights would be
// packed once and stay in the caches.
class RandomTensors : public lm::Checkpoint {
 public:
  // `blocks`: the format of products' weights, or F32.
  RandomTensors(const lm::DecoderConfig& config, tensor::BlockFormat blocks)
      : config_(config), blocks_(blocks) {}

  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    tensor::Tensor tensor = TRY(tensor::Tensor::Allocate(
        tensor::DType::kF32, lm::ShapeOf(config_, name), int64_t{1} << 33));
    auto bits = static_cast<uint32_t>(std::hash<std::string>()(name));
    for (float& x : tensor.mutable_view().span<float>()) {
      bits = bits * 1664525 + 1013904223;
      x = tensor.shape.rank() == 1 ? 1.0f : static_cast<float>(static_cast<int32_t>(bits)) * 1e-11f;
    }
    return tensor;
  }

  base::Result<lm::StoredTensor> FindStored(const std::string& name) const override {
    lm::StoredTensor stored;
    stored.shape = lm::ShapeOf(config_, name);
    // As in files of such formats, a width that is no whole number of blocks has smaller ones.
    stored.format = blocks_;
    if (blocks_ == tensor::BlockFormat::kF32) return Checkpoint::FindStored(name);
    if (stored.shape[1] % tensor::BlockElements(blocks_) != 0) {
      stored.format = tensor::BlockFormat::kQ5_0;
    }
    const int64_t block = tensor::BlockBytes(stored.format);
    const int64_t bytes = stored.shape.elements() / tensor::BlockElements(stored.format) * block;
    stored.buffer = tensor::Buffer::AllocateLarge(bytes);
    std::byte* const data = stored.buffer.mutable_data();
    const uint16_t half = tensor::ToF16(1e-4f).bits;
    for (int64_t at = 0; at < bytes; ++at) data[at] = static_cast<std::byte>(at * 7 + at / 64);
    for (int64_t at = 0; at < bytes; at += block) {
      std::memcpy(data + at, &half, 2);
      std::memcpy(data + at + 2, &half, 2);
    }
    return stored;
  }

 private:
  const lm::DecoderConfig config_;
  const tensor::BlockFormat blocks_;
};

lm::DecoderConfig ConfigOf(const std::string& name) {
  lm::DecoderConfig config;
  const bool qwen = name == "qwen2.5-0.5b";
  config.vocabulary = qwen ? 151'936 : 128'256;
  config.hidden = qwen ? 896 : 2048;
  config.layers = qwen ? 24 : 16;
  config.heads = qwen ? 14 : 32;
  config.key_heads = qwen ? 2 : 8;
  config.head_dim = 64;
  config.feed_forward = qwen ? 4864 : 8192;
  config.context_max = 4096;
  config.attention_scale = 0.125f;
  config.tied_head = true;
  config.query_key_value_bias = qwen;
  config.rotary.turned = 64;
  config.window_rotary = config.rotary;
  return config;
}

// Notes the time between places where something more urgent might run.
class NotingSafepoint : public engine::Safepoint {
 public:
  bool Reach() override {
    const base::Time now = base::SystemClock::Get().Now();
    gaps_us_.push_back((now - last_).us());
    last_ = now;
    return true;
  }
  base::Duration quantum() const override { return base::Duration::Micros(500); }
  void Begin() { last_ = base::SystemClock::Get().Now(); }
  void Print(const char* what) {
    std::sort(gaps_us_.begin(), gaps_us_.end());
    if (gaps_us_.empty()) return;
    std::printf("%s: %zu safepoints, us between two: median %.0f, p99 %.0f, max %.0f\n", what,
                gaps_us_.size(), gaps_us_[gaps_us_.size() / 2],
                gaps_us_[gaps_us_.size() * 99 / 100], gaps_us_.back());
    gaps_us_.clear();
  }

 private:
  base::Time last_;
  std::vector<double> gaps_us_;
};

// Items of a step: what 256 rows hold.
constexpr int32_t kItems = 12;
constexpr int64_t kItemTokens = 20;

// One sequence with blocks of its own.
struct Session {
  const lm::Decoder& decoder;
  base::ThreadPool* pool;
  lm::CacheMemory cache;
  tensor::Buffer blocks, memory;
  kv::Sequence sequence;
  std::vector<int32_t> tokens;

  Session(const lm::Decoder& d, base::ThreadPool* p, int64_t length) : decoder(d), pool(p) {
    const int64_t count = length / kernels::kCacheBlockRows + 1;
    cache.type = d.cache_type();
    cache.layer_bytes = d.cache_layer_bytes();
    cache.block_bytes = d.cache_block_bytes();
    blocks = tensor::Buffer::Allocate(count * cache.block_bytes + 64);
    std::memset(blocks.mutable_data(), 0, static_cast<size_t>(blocks.bytes()));
    cache.data = blocks.mutable_data();
    memory = tensor::Buffer::Allocate(d.MemoryBytes(512, kItems));
    for (int32_t i = 0; i < count; ++i) sequence.blocks.push_back(i);
    sequence.length = count * kernels::kCacheBlockRows;
    for (int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(i * 7919 % 30'000));
  }
  // Seconds of the positions [from, to), logits for the last one.
  double Run(int64_t from, int64_t to, NotingSafepoint* safepoint = nullptr) {
    lm::StepRows rows;
    rows.Add(sequence, tokens, from, to);
    rows.Want(lm::RowOutput::kLogits, 1);
    lm::Runner runner({.pool = pool, .safepoint = safepoint});
    if (safepoint != nullptr) safepoint->Begin();
    const base::Time start = base::SystemClock::Get().Now();
    if (decoder.Run(rows, cache, memory.mutable_data(), runner) == nullptr) std::abort();
    if (safepoint != nullptr) safepoint->Reach();
    return static_cast<double>((base::SystemClock::Get().Now() - start).ns) / 1e9;
  }
};

// Seconds of a step that scores kItems items of kItemTokens behind 200 positions; `labels`: theirs
// alone, null: the whole head.
double RunItems(Session& session, const lm::ColumnPlaces* labels) {
  constexpr int64_t kPrefix = 200;
  constexpr int32_t kShared = kPrefix / kernels::kCacheBlockRows;
  std::vector<kv::Sequence> items(kItems);
  lm::StepRows rows;
  for (int32_t i = 0; i < kItems; ++i) {
    kv::Sequence& item = items[static_cast<size_t>(i)];
    for (int32_t block = 0; block < kShared; ++block) item.blocks.push_back(block);
    item.blocks.push_back(kShared + i);
    item.length = kPrefix + kItemTokens;
    rows.Add(item, session.tokens, kPrefix, kPrefix + kItemTokens);
    rows.Want(labels == nullptr ? lm::RowOutput::kLogits : lm::RowOutput::kState, 1);
  }
  lm::Runner runner({.pool = session.pool});
  lm::Decoder::States states;
  std::vector<float> of_labels(
      static_cast<size_t>(labels == nullptr ? 0 : kItems * labels->size()));
  const base::Time start = base::SystemClock::Get().Now();
  const bool done = session.decoder.RunLayers(rows, session.cache, session.memory.mutable_data(),
                                              kItems, states, runner) &&
                    (labels == nullptr ? session.decoder.RunHead(states, 0, kItems, runner)
                                       : session.decoder.RunHeadColumns(states, 0, kItems, *labels,
                                                                        of_labels.data(), runner));
  if (!done) std::abort();
  return static_cast<double>((base::SystemClock::Get().Now() - start).ns) / 1e9;
}

// "q8_0", …: a format of GGUF.
std::optional<tensor::BlockFormat> FormatOf(std::string name) {
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (int i = 0; i < tensor::kBlockFormatCount; ++i) {
    const auto format = static_cast<tensor::BlockFormat>(i);
    if (name == tensor::BlockFormatName(format) && !tensor::PlainDType(format).has_value()) {
      return format;
    }
  }
  return std::nullopt;
}

// GB/s of all lanes that read memory side by side, each its own.
class ReadingLanes {
 public:
  explicit ReadingLanes(base::ThreadPool& pool) : pool_(pool) {
    memory_ = tensor::Buffer::AllocateLarge(pool.lanes() * kBytes);
    std::memset(memory_.mutable_data(), 1, static_cast<size_t>(memory_.bytes()));
  }
  double Measure() {
    const base::Time start = base::SystemClock::Get().Now();
    // Pieces that are claimed as tiles of products are.
    pool_.ParallelFor(memory_.bytes() / kPiece, 1e5, [&](int64_t begin, int64_t end) {
      kernels::ReadMemory(memory_.data() + begin * kPiece, (end - begin) * kPiece);
    });
    return static_cast<double>(memory_.bytes()) /
           static_cast<double>((base::SystemClock::Get().Now() - start).ns);
  }

 private:
  static constexpr int64_t kBytes = int64_t{128} << 20;  // of a lane
  static constexpr int64_t kPiece = int64_t{1} << 20;
  base::ThreadPool& pool_;
  tensor::Buffer memory_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** words) {
  const std::string form_name = count > 1 ? words[1] : "int8";
  const int threads = count > 2 ? std::atoi(words[2]) : 2;
  const std::string model = count > 3 ? words[3] : "qwen2.5-0.5b";
  const std::optional<tensor::BlockFormat> blocks = FormatOf(form_name);
  const base::Result<lm::LinearForm> form =
      blocks.has_value() ? lm::LinearForm::Stored() : lm::LinearForm::Parse(form_name);
  if (!form.ok() || threads < 1) {
    std::fprintf(stderr, "usage: decoder_bench [FORM [THREADS [MODEL]]]\n");
    return 2;
  }
  const lm::DecoderConfig config = ConfigOf(model);
  const auto decoder = lm::Decoder::Load(
      RandomTensors(config, blocks.value_or(tensor::BlockFormat::kF32)), config, {.form = *form});
  if (!decoder.ok()) {
    std::fprintf(stderr, "%s\n", decoder.error().message.c_str());
    return 1;
  }
  base::ThreadPool::Options pool_options;
  pool_options.workers = threads - 1;
  base::ThreadPool pool(pool_options);
  Session session(*decoder, &pool, 1024);
  std::printf("%s %s, %d threads, %.0f MB of weights\n", model.c_str(), form_name.c_str(), threads,
              static_cast<double>(decoder->product_bytes()) / 1e6);
  constexpr int kRounds = 7;
  ReadingLanes reading(pool);
  const auto bytes = static_cast<double>(decoder->product_bytes());
  std::vector<double> prompts, tokens, reads, shares;
  for (int round = 0; round < kRounds; ++round) {
    prompts.push_back(session.Run(0, 512));
    for (int64_t at = 512; at < 528; ++at) {
      tokens.push_back(session.Run(at, at + 1));
      reads.push_back(reading.Measure());
      shares.push_back(bytes / tokens.back() / 1e9 / reads.back());
    }
  }
  const double token = Median(tokens), prompt = Median(prompts);
  std::printf("prompt of 512  %8.1f ms  %7.0f tokens/s\n", prompt * 1e3, 512 / prompt);
  std::printf("one token      %8.2f ms  %7.1f tokens/s  %.1f GB/s of weights\n", token * 1e3,
              1 / token, bytes / token / 1e9);
  std::printf("reading        %8.1f GB/s, of which a token's weights take %.1f %%\n", Median(reads),
              100 * Median(shares));
  const lm::ColumnPlaces labels(std::vector<int32_t>{9693, 2152});
  std::vector<double> whole, alone;
  for (int round = 0; round < kRounds; ++round) {
    whole.push_back(RunItems(session, nullptr));
    alone.push_back(RunItems(session, &labels));
  }
  std::printf("12 items of 20 by 2 labels  whole head %8.1f ms  the labels alone %8.1f ms\n",
              Median(whole) * 1e3, Median(alone) * 1e3);
  NotingSafepoint safepoint;
  for (int round = 0; round < 3; ++round) session.Run(0, 256, &safepoint);
  safepoint.Print("prompts of 256");
  for (int64_t at = 512; at < 544; ++at) session.Run(at, at + 1, &safepoint);
  safepoint.Print("one token");
  return 0;
}
