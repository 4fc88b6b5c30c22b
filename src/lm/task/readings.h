// What is made of the outputs of a step: tokens drawn of rows of logits, logprobs, sums of states.
// The head runs here, over few rows at a time, so that any number of rows may have logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "lm/decoder/decoder.h"
#include "lm/sampler.h"

namespace sluice::lm {

// Of one output, or of some that follow one another. What it points to stays until the step is
// committed.
struct Reading {
  enum class Kind : uint8_t {
    kDraw,    // a token by `sampling`, `counts` and `seed`: a sample
    kToken,   // the logprob of `token` and the `top` likeliest: a sample
    kTokens,  // the logprobs of `tokens`: values
    kLogits,  // the row: head_width values
    // Of states.
    kColumns,  // the logits of `columns`, for which the rest of the head is not computed: values
    kSum,      // the sum of `rows` states, one by one, on top of what its values hold: values
  };
  Kind kind = Kind::kDraw;
  int64_t row = 0;  // among the outputs of its kind
  int64_t rows = 1;
  int64_t width = 0;  // of a sum: elements of each state, from its first on
  const SamplingParameters* sampling = nullptr;
  const TokenCounts* counts = nullptr;
  uint64_t seed = 0;
  int64_t position = 0;  // of the token that is drawn
  int32_t token = 0;
  int32_t top = 0;
  std::span<const int32_t> tokens = {};
  const ColumnPlaces* columns = nullptr;
  size_t result = 0;  // its sample, or the first of its values
};

// Owner: one step, which is formed, launched and committed in turn.
class Readings {
 public:
  // What one member's readings gave.
  struct Results {
    std::span<const Sample> samples;
    std::span<const float> values;
  };
  // Logits of at most `rows_max` rows are there at once.
  Readings(const Decoder* decoder, int64_t rows_max) : decoder_(decoder), rows_max_(rows_max) {}

  void Clear();
  // The readings from here on are another member's.
  void BeginMember();
  void AddDraw(int64_t row, const SamplingParameters& sampling, const TokenCounts& counts,
               uint64_t seed, int64_t position);
  void AddToken(int64_t row, int32_t token, int32_t top);
  void AddLogprobs(int64_t row, std::span<const int32_t> tokens);
  void AddLogits(int64_t row);
  // Of rows whose states are wanted, not their logits.
  void AddColumns(int64_t row, const ColumnPlaces& columns);
  // `before` [at most hidden]: what the sum begins with, and how much of each state is added.
  void AddStates(int64_t first, int64_t count, std::span<const float> before);

  // Runs the head and all readings. states.logits [rows_max, head_width]. False: abandoned.
  [[nodiscard]] bool Run(const StepRows& rows, const Decoder::States& states, Runner& runner);
  Results ResultsOf(size_t member) const;

 private:
  struct Begin {
    size_t samples = 0;
    size_t values = 0;
  };
  Reading& Add(Reading::Kind kind, int64_t row);
  size_t AddSample();
  size_t AddValues(size_t count);
  void Read(const Reading& reading, std::span<const float> row, Sampler& sampler);
  // `first`: the state that they count from. RunColumns takes all of those from `at` on that are
  // one product, and moves it behind them.
  void SumStates(const Reading& reading, int64_t first, const Decoder::States& states);
  [[nodiscard]] bool RunColumns(size_t& at, int64_t first, const Decoder::States& states,
                                Runner& runner);

  const Decoder* const decoder_;
  const int64_t rows_max_;
  std::vector<Reading> of_logits_;  // by row, ascending
  std::vector<Reading> of_states_;  // as they came
  std::vector<Begin> members_;
  std::vector<Sample> samples_;  // more than are in use: their lists keep their room
  size_t sample_count_ = 0;
  std::vector<float> values_;
  std::vector<Sampler> samplers_;  // by lane
};

}  // namespace sluice::lm
