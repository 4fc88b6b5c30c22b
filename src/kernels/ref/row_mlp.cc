#include <cmath>

#include "kernels/ref/elementwise.h"
#include "kernels/ref/ranking.h"

namespace sluice::kernels::ref {
namespace {

double Activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    default:
      return x;
  }
}

double Gate(const RowMlpLayer& layer, int64_t column, double x) {
  if (layer.gate == RowGate::kNone) return x;
  const auto slope = static_cast<double>(layer.slope[column]);
  if (layer.gate == RowGate::kPRelu) return x > 0 ? x : slope * x;
  const double p = Activate(Activation::kSigmoid, static_cast<double>(layer.scale[column]) * x +
                                                      static_cast<double>(layer.shift[column]));
  return p * x + slope * (1 - p) * x;
}

// Takes identity, ReLU, sigmoid and tanh, which is enough to tell layers apart.
std::vector<double> Layer(const std::vector<double>& x, const float* w, const RowMlpLayer& layer,
                          const std::vector<double>& added) {
  const int64_t n = layer.b.n;
  std::vector<double> y(added);
  for (int64_t j = 0; j < n; ++j) {
    double sum = y[static_cast<size_t>(j)];
    if (layer.bias != nullptr) sum += static_cast<double>(layer.bias[j]);
    for (size_t k = 0; k < x.size(); ++k)
      sum += x[k] * static_cast<double>(w[static_cast<int64_t>(k) * n + j]);
    y[static_cast<size_t>(j)] = Gate(layer, j, Activate(layer.activation, sum));
  }
  return y;
}

}  // namespace

void RowMlp(const RowMlpArgs& args, const std::vector<const float*>& weights,
            const float* gate_weight) {
  const int64_t last = args.layers[args.layer_count - 1].b.n;
  for (int64_t g = 0; g < args.groups; ++g) {
    const float* const gate = args.gate == nullptr ? nullptr : args.gate + g * args.gate_group;
    std::vector<double> first(static_cast<size_t>(args.layers[0].b.n), 0.0);
    for (int64_t k = 0; gate != nullptr && k < args.gate_weight.k; ++k) {
      for (size_t j = 0; j < first.size(); ++j)
        first[j] += static_cast<double>(gate[k]) *
                    static_cast<double>(gate_weight[static_cast<size_t>(k) * first.size() + j]);
    }
    for (int64_t r = 0; r < args.rows; ++r) {
      const float* const from = args.x + g * args.x_group + r * args.x_row;
      std::vector<double> x(from, from + args.columns);
      for (int64_t c = 0; args.crosses && c < args.columns; ++c)
        x.push_back(static_cast<double>(from[c]) * static_cast<double>(gate[c]));
      for (int32_t i = 0; i < args.layer_count; ++i) {
        const std::vector<double> none(static_cast<size_t>(args.layers[i].b.n), 0.0);
        x = Layer(x, weights[static_cast<size_t>(i)], args.layers[i], i == 0 ? first : none);
      }
      for (int64_t j = 0; j < last; ++j)
        args.y[(g * args.rows + r) * last + j] = static_cast<float>(x[static_cast<size_t>(j)]);
    }
  }
}

}  // namespace sluice::kernels::ref
