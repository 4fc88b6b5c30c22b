#include "lm/decoder/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sluice::lm {
namespace {

double Turn(double theta, int64_t pair, int64_t turned) {
  return std::pow(theta, -2.0 * static_cast<double>(pair) / static_cast<double>(turned));
}

// The share of pair i that keeps its frequency.
double KeptByYarn(const RotaryConfig& rotary, int64_t pair) {
  const RotaryScaling& scaling = rotary.scaling;
  const auto turned = static_cast<double>(rotary.turned);
  // The pair that turns so many times in the context of training.
  const auto pair_of = [&](double turns) {
    return turned * std::log(scaling.context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(rotary.theta));
  };
  double low = pair_of(scaling.beta_fast), high = pair_of(scaling.beta_slow);
  if (scaling.whole_pairs) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, turned - 1);
  if (low == high) high += 0.001;
  return 1 - std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
}

// Radians a position of pair i.
double Frequency(const RotaryConfig& rotary, int64_t i) {
  const double frequency = Turn(rotary.theta, i, rotary.turned);
  const RotaryScaling& scaling = rotary.scaling;
  const auto length = static_cast<double>(rotary.length);
  switch (scaling.kind) {
    case RotaryScaling::Kind::kNone:
      return frequency;
    case RotaryScaling::Kind::kLinear:
      return frequency / scaling.factor;
    case RotaryScaling::Kind::kLlama3: {
      // Meta, llama-models, models/llama3/model.py: apply_scaling.
      const double turns = scaling.context * frequency / (2 * std::numbers::pi);
      if (turns < scaling.low_factor) return frequency / scaling.factor;
      if (turns > scaling.high_factor) return frequency;
      const double smooth =
          (turns - scaling.low_factor) / (scaling.high_factor - scaling.low_factor);
      return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
    }
    case RotaryScaling::Kind::kYarn: {
      const double kept = KeptByYarn(rotary, i);
      return frequency / scaling.factor * (1 - kept) + frequency * kept;
    }
    case RotaryScaling::Kind::kLongRope: {
      const auto& divisors =
          length > scaling.context ? scaling.long_divisors : scaling.short_divisors;
      return frequency / divisors[static_cast<size_t>(i)];
    }
    case RotaryScaling::Kind::kDynamic: {
      // "NTK-aware": the base grows with the length (transformers, modeling_rope_utils.py).
      if (length <= scaling.context || rotary.turned <= 2) return frequency;
      const auto turned = static_cast<double>(rotary.turned);
      const double grown = scaling.factor * length / scaling.context - (scaling.factor - 1);
      return Turn(rotary.theta * std::pow(grown, turned / (turned - 2)), i, rotary.turned);
    }
  }
  return frequency;
}

}  // namespace

void FillAngles(const RotaryConfig& rotary, const std::vector<int32_t>& positions, float* cos,
                float* sin) {
  const int64_t half = rotary.turned / 2;
  const double magnitude = rotary.scaling.magnitude;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = Frequency(rotary, i);
    for (size_t row = 0; row < positions.size(); ++row) {
      const double angle = positions[row] * frequency;
      cos[static_cast<int64_t>(row) * half + i] = static_cast<float>(magnitude * std::cos(angle));
      sin[static_cast<int64_t>(row) * half + i] = static_cast<float>(magnitude * std::sin(angle));
    }
  }
}

}  // namespace sluice::lm
