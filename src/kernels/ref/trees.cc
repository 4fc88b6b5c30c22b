#include "kernels/ref/trees.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/check.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

template <class Node, class T>
int32_t LeafOf(const Node* nodes, int32_t at, const T* row) {
  while ((nodes[at].feature & kTreeLeaf) == 0) {
    const Node& node = nodes[at];
    const T value = row[node.feature & kTreeFeature];
    bool yes = (node.feature & kTreeEquals) != 0 ? value == node.split : value <= node.split;
    if (std::isnan(value)) yes = (node.feature & kTreeNanYes) != 0;
    at = yes ? node.yes : node.no;
  }
  return at;
}

template <class Node, class T>
void RunTrees(const TreesArgs& args) {
  const auto* nodes = static_cast<const Node*>(args.nodes.data);
  const int64_t rows = args.x.shape[0];
  const int64_t features = args.x.shape[1];
  const int64_t targets = args.y.shape[1];
  const int64_t trees = args.roots.shape[0];
  const T* weights = args.leaf_weights.as<T>();
  for (int64_t row = 0; row < rows; ++row) {
    T* const y = args.y.as<T>() + row * targets;
    for (int64_t target = 0; target < targets; ++target) {
      double sum = 0;
      bool any = false;
      for (int64_t tree = 0; tree < trees; ++tree) {
        const int32_t leaf =
            LeafOf(nodes, args.roots.as<int32_t>()[2 * tree], args.x.as<T>() + row * features);
        const int32_t end = args.leaf_begin.as<int32_t>()[leaf + 1];
        for (int32_t i = args.leaf_begin.as<int32_t>()[leaf]; i < end; ++i) {
          if (args.leaf_targets.as<int32_t>()[i] != target) continue;
          const auto weight = static_cast<double>(weights[i]);
          if (!any || args.aggregate == TreeAggregate::kSum) {
            sum += weight;
          } else {
            sum = args.aggregate == TreeAggregate::kMin ? std::min(sum, weight)
                                                        : std::max(sum, weight);
          }
          any = true;
        }
      }
      y[target] = static_cast<T>(sum);
    }
  }
}

template <class T>
bool Below(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return false;
    if (std::isnan(a)) return true;
  }
  return a < b;
}

template <class T>
int64_t Find(const tensor::ConstView& keys, T x) {
  const T* begin = keys.as<T>();
  const T* end = begin + keys.shape.elements();
  const T* found = std::lower_bound(begin, end, x, [](T a, T b) { return Below(a, b); });
  return found == end || Below(x, *found) ? -1 : found - begin;
}

int64_t FindKey(const MapValuesArgs& args, int64_t i) {
  switch (args.x.dtype) {
    case DType::kI64:
      return Find<int64_t>(args.keys, args.x.as<int64_t>()[i]);
    case DType::kI32:
      return Find<int32_t>(args.keys, args.x.as<int32_t>()[i]);
    case DType::kI16:
      return Find<int16_t>(args.keys, args.x.as<int16_t>()[i]);
    case DType::kF32:
      return Find<float>(args.keys, args.x.as<float>()[i]);
    case DType::kF64:
      return Find<double>(args.keys, args.x.as<double>()[i]);
    case DType::kBytes:
      return Find<std::string_view>(args.keys, args.x.as<std::string_view>()[i]);
    default:
      CHECK(false) << tensor::DTypeName(args.x.dtype);
  }
  return -1;
}

}  // namespace

void Trees(const TreesArgs& args) {
  if (args.x.dtype == DType::kF64) return RunTrees<WideTreeNode, double>(args);
  CHECK(args.x.dtype == DType::kF32);
  RunTrees<TreeNode, float>(args);
}

void MapValues(const MapValuesArgs& args) {
  const auto size = static_cast<size_t>(tensor::DTypeSize(args.y.dtype));
  const auto* values = static_cast<const std::byte*>(args.values.data);
  auto* to = static_cast<std::byte*>(args.y.data);
  for (int64_t i = 0; i < args.x.shape.elements(); ++i) {
    const int64_t found = FindKey(args, i);
    const void* from = found < 0 ? args.fallback.data : values + found * static_cast<int64_t>(size);
    std::memcpy(to + i * static_cast<int64_t>(size), from, size);
  }
}

}  // namespace sluice::kernels::ref
