#include "lm/decoder_config.h"

#include <cmath>
#include <numbers>

namespace sluice::lm {
namespace {

// Radians a position of pair i.
double Frequency(const RotaryConfig& rotary, int64_t i) {
  const double frequency =
      std::pow(rotary.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary.turned));
  const RotaryScaling& scaling = rotary.scaling;
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
  }
  return frequency;
}

}  // namespace

void FillAngles(const RotaryConfig& rotary, const std::vector<int32_t>& positions, float* cos,
                float* sin) {
  const int64_t half = rotary.turned / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = Frequency(rotary, i);
    for (size_t row = 0; row < positions.size(); ++row) {
      const double angle = positions[row] * frequency;
      cos[static_cast<int64_t>(row) * half + i] = static_cast<float>(std::cos(angle));
      sin[static_cast<int64_t>(row) * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace sluice::lm
