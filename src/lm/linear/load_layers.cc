#include "lm/linear/load_layers.h"

#include <optional>
#include <utility>
#include <vector>

#include "kernels/pack_pool.h"

namespace sluice::lm {
namespace {

constexpr double kLayerNs = 1e6;  // at least; for cutting a model into pieces

}  // namespace

base::Status LoadLayers(int64_t layers, base::FunctionRef<base::Status(int64_t)> load) {
  std::vector<std::optional<base::Error>> failures(static_cast<size_t>(layers));
  const auto load_some = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      base::Status loaded = load(i);
      if (!loaded.ok()) failures[static_cast<size_t>(i)] = std::move(loaded).error();
    }
  };
  kernels::PackPool().ParallelFor(layers, kLayerNs, load_some);
  for (std::optional<base::Error>& failure : failures) {
    if (failure.has_value()) return *std::move(failure);
  }
  return base::Ok();
}

}  // namespace sluice::lm
