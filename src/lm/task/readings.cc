#include "lm/task/readings.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sluice::lm {
namespace {

// Of a draw, for cutting work into pieces: some passes over a row.
constexpr double kReadNsPerColumn = 0.6;

}  // namespace

void Readings::Clear() {
  of_logits_.clear();
  of_states_.clear();
  members_.clear();
  sample_count_ = 0;
  values_.clear();
}

void Readings::BeginMember() {
  members_.push_back({sample_count_, values_.size()});
}

Reading& Readings::Add(Reading::Kind kind, int64_t row) {
  CHECK(of_logits_.empty() || of_logits_.back().row <= row);
  Reading reading;
  reading.kind = kind;
  reading.row = row;
  return of_logits_.emplace_back(reading);
}

size_t Readings::AddSample() {
  if (sample_count_ == samples_.size()) samples_.emplace_back();
  return sample_count_++;
}

size_t Readings::AddValues(size_t count) {
  const size_t first = values_.size();
  values_.resize(first + count);
  return first;
}

void Readings::AddDraw(int64_t row, const SamplingParameters& sampling, const TokenCounts& counts,
                       uint64_t seed, int64_t position) {
  Reading& reading = Add(Reading::Kind::kDraw, row);
  reading.sampling = &sampling;
  reading.counts = &counts;
  reading.seed = seed;
  reading.position = position;
  reading.result = AddSample();
}

void Readings::AddToken(int64_t row, int32_t token, int32_t top) {
  Reading& reading = Add(Reading::Kind::kToken, row);
  reading.token = token;
  reading.top = top;
  reading.result = AddSample();
}

void Readings::AddLogprobs(int64_t row, std::span<const int32_t> tokens) {
  Reading& reading = Add(Reading::Kind::kTokens, row);
  reading.tokens = tokens;
  reading.result = AddValues(tokens.size());
}

void Readings::AddLogits(int64_t row) {
  Reading& reading = Add(Reading::Kind::kLogits, row);
  reading.result = AddValues(static_cast<size_t>(decoder_->head_width()));
}

void Readings::AddColumns(int64_t row, const ColumnPlaces& columns) {
  Reading reading;
  reading.kind = Reading::Kind::kColumns;
  reading.row = row;
  reading.columns = &columns;
  reading.result = AddValues(static_cast<size_t>(columns.size()));
  of_states_.push_back(reading);
}

void Readings::AddStates(int64_t first, int64_t count, std::span<const float> before) {
  Reading reading;
  reading.kind = Reading::Kind::kSum;
  reading.row = first;
  reading.rows = count;
  reading.width = static_cast<int64_t>(before.size());
  reading.result = AddValues(before.size());
  std::copy(before.begin(), before.end(),
            values_.begin() + static_cast<std::ptrdiff_t>(reading.result));
  of_states_.push_back(reading);
}

bool Readings::Run(const StepRows& rows, const Decoder::States& states, Runner& runner) {
  if (static_cast<int>(samplers_.size()) < runner.lanes()) {
    samplers_.resize(static_cast<size_t>(runner.lanes()));
  }
  const int64_t width = decoder_->head_width();
  const auto row_count = static_cast<int64_t>(rows.logit_rows.size());
  for (size_t at = 0; at < of_logits_.size();) {
    // Rows of which nothing is read are left out where they are many.
    const int64_t first = of_logits_[at].row;
    const int64_t count = std::min(rows_max_, row_count - first);
    size_t end = at;
    while (end < of_logits_.size() && of_logits_[end].row < first + count) ++end;
    const int64_t used = of_logits_[end - 1].row + 1 - first;
    if (!decoder_->RunHead(states, first, used, runner)) return false;
    const auto readings = static_cast<int64_t>(end - at);
    const double whole_ns = static_cast<double>(readings * width) * kReadNsPerColumn;
    const auto read = [&](kernels::Tiles range, int lane) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Reading& reading = of_logits_[at + static_cast<size_t>(i)];
        Read(reading, {states.logits + (reading.row - first) * width, static_cast<size_t>(width)},
             samplers_[static_cast<size_t>(lane)]);
      }
    };
    if (!runner.RunInLanes(readings, whole_ns, read)) return false;
    at = end;
  }
  for (size_t at = 0; at < of_states_.size();) {
    if (of_states_[at].kind == Reading::Kind::kSum) {
      SumStates(of_states_[at++], row_count, states);
    } else if (!RunColumns(at, row_count, states, runner)) {
      return false;
    }
  }
  return true;
}

bool Readings::RunColumns(size_t& at, int64_t first, const Decoder::States& states,
                          Runner& runner) {
  const Reading& one = of_states_[at];
  const auto width = static_cast<size_t>(one.columns->size());
  int64_t count = 1;
  for (++at; at < of_states_.size() && count < rows_max_; ++at, ++count) {
    const Reading& next = of_states_[at];
    // Their values follow one another as their rows do.
    if (next.columns != one.columns || next.row != one.row + count ||
        next.result != one.result + width * static_cast<size_t>(count)) {
      break;
    }
  }
  return decoder_->RunHeadColumns(states, first + one.row, count, *one.columns,
                                  values_.data() + one.result, runner);
}

void Readings::Read(const Reading& reading, std::span<const float> row, Sampler& sampler) {
  switch (reading.kind) {
    case Reading::Kind::kDraw:
      return sampler.Draw(row, *reading.sampling, *reading.counts, reading.seed, reading.position,
                          samples_[reading.result]);
    case Reading::Kind::kToken:
      return sampler.Score(row, reading.token, reading.top, samples_[reading.result]);
    case Reading::Kind::kTokens: {
      const float normaliser = sampler.Normaliser(row);
      float* to = values_.data() + reading.result;
      for (const int32_t token : reading.tokens) {
        *to++ = row[static_cast<size_t>(token)] - normaliser;
      }
      return;
    }
    case Reading::Kind::kLogits:
      std::copy(row.begin(), row.end(),
                values_.begin() + static_cast<std::ptrdiff_t>(reading.result));
      return;
    case Reading::Kind::kColumns:
    case Reading::Kind::kSum:
      return;
  }
}

void Readings::SumStates(const Reading& reading, int64_t first, const Decoder::States& states) {
  float* const sum = values_.data() + reading.result;
  first += reading.row;
  for (int64_t row = first; row < first + reading.rows; ++row) {
    const float* const state = states.rows + row * states.stride;
    for (int64_t i = 0; i < reading.width; ++i) sum[i] += state[i];
  }
}

Readings::Results Readings::ResultsOf(size_t member) const {
  const Begin begin = members_[member];
  const bool last = member + 1 == members_.size();
  const size_t samples_end = last ? sample_count_ : members_[member + 1].samples;
  const size_t values_end = last ? values_.size() : members_[member + 1].values;
  return {std::span(samples_).subspan(begin.samples, samples_end - begin.samples),
          std::span(values_).subspan(begin.values, values_end - begin.values)};
}

}  // namespace sluice::lm
