#include "kernels/ref/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/index.h"
#include "kernels/ref/lanes.h"

namespace sluice::kernels::ref {
namespace {

double At(const ConstView& x, int64_t i) {
  return LoadOne<double>(x.dtype, x.data, i);
}

// What the mask adds to the score of (b, h, i, j).
class Mask {
 public:
  explicit Mask(const ConstView& mask) : mask_(mask) {
    int64_t stride = 1;
    for (int axis = mask.shape.rank() - 1, at = 3; axis >= 0; --axis, --at) {
      strides_[at] = mask.shape[axis] == 1 ? 0 : stride;
      stride *= mask.shape[axis];
    }
    if (mask.data != nullptr && mask.shape.rank() > 0) keys_ = mask.shape[mask.shape.rank() - 1];
    if (keys_ == 1) keys_ = INT64_MAX;
  }
  double operator()(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (mask_.data == nullptr) return 0;
    constexpr double kExcluded = -std::numeric_limits<double>::infinity();
    if (j >= keys_) return kExcluded;
    const int64_t at = b * strides_[0] + h * strides_[1] + i * strides_[2] + j * strides_[3];
    if (mask_.dtype == tensor::DType::kBool) return mask_.as<bool>()[at] ? 0 : kExcluded;
    return At(mask_, at);
  }

 private:
  const ConstView& mask_;
  int64_t strides_[4] = {};
  int64_t keys_ = INT64_MAX;
};

void AttendRow(const AttentionArgs& args, const Mask& mask, int64_t b, int64_t h, int64_t i) {
  const int64_t key_head = h / (args.heads / args.key_heads);
  const int64_t q = b * args.q_strides.batch + h * args.q_strides.head + i * args.q_strides.row;
  const int64_t k = b * args.k_strides.batch + key_head * args.k_strides.head;
  const int64_t v = b * args.v_strides.batch + key_head * args.v_strides.head;
  const int64_t y = b * args.y_strides.batch + h * args.y_strides.head + i * args.y_strides.row;
  const int64_t scores = ((b * args.heads + h) * args.queries + i) * args.keys;
  const auto write_scores = [&](ScoreStage stage, int64_t j, double score) {
    if (args.scores.data != nullptr && args.stage == stage) {
      StoreOne(args.scores.dtype, args.scores.data, scores + j, score);
    }
  };
  double* row = args.scratch;
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < args.keys; ++j) {
    double score = 0;
    for (int64_t d = 0; d < args.dim; ++d)
      score += At(args.q, q + d) * At(args.k, k + j * args.k_strides.row + d);
    score *= args.scale;
    write_scores(ScoreStage::kProduct, j, score);
    score += mask(b, h, i, j);
    if ((args.causal && j > i + args.causal_offset) ||
        (args.key_lengths != nullptr && j >= args.key_lengths[b])) {
      score = -std::numeric_limits<double>::infinity();
    }
    write_scores(ScoreStage::kMasked, j, score);
    if (args.softcap > 0) score = std::tanh(score / args.softcap) * args.softcap;
    write_scores(ScoreStage::kCapped, j, score);
    row[j] = score;
    largest = std::max(largest, score);
  }
  double sum = 0;
  for (int64_t j = 0; j < args.keys; ++j) sum += row[j] = std::exp(row[j] - largest);
  for (int64_t j = 0; j < args.keys; ++j) {
    row[j] /= sum;
    write_scores(ScoreStage::kSoftmax, j, row[j]);
  }
  for (int64_t d = 0; d < args.value_dim; ++d) {
    double total = 0;
    for (int64_t j = 0; j < args.keys; ++j)
      total += row[j] * At(args.v, v + j * args.v_strides.row + d);
    StoreOne(args.y.dtype, args.y.data, y + d, total);
  }
}

}  // namespace

void Attention(const AttentionArgs& args) {
  CHECK(args.key_heads > 0 && args.heads % args.key_heads == 0);
  const Mask mask(args.mask);
  for (int64_t b = 0; b < args.batch; ++b) {
    for (int64_t h = 0; h < args.heads; ++h) {
      for (int64_t i = 0; i < args.queries; ++i) AttendRow(args, mask, b, h, i);
    }
  }
}

base::Status Rotary(const RotaryArgs& args) {
  const int64_t half = args.rotary / 2;
  const bool by_id = args.position_ids.data != nullptr;
  const int64_t positions = by_id ? args.cos.shape[0] : 0;
  for (int64_t b = 0; b < args.batch; ++b) {
    for (int64_t s = 0; s < args.length; ++s) {
      int64_t position = b * args.length + s;
      if (by_id) {
        const int64_t id = IndexAt(args.position_ids, position);
        if (id < 0 || id >= positions)
          return IndexError("RotaryEmbedding", id, positions, position);
        position = id;
      }
      for (int64_t h = 0; h < args.heads; ++h) {
        const int64_t at = b * args.strides.batch + h * args.strides.head + s * args.strides.row;
        for (int64_t i = 0; i < half; ++i) {
          const int64_t first = at + (args.interleaved ? 2 * i : i);
          const int64_t second = at + (args.interleaved ? 2 * i + 1 : i + half);
          const double cos = At(args.cos, position * half + i);
          const double sin = At(args.sin, position * half + i);
          const double x = At(args.x, first);
          const double y = At(args.x, second);
          StoreOne(args.y.dtype, args.y.data, first, cos * x - sin * y);
          StoreOne(args.y.dtype, args.y.data, second, sin * x + cos * y);
        }
        for (int64_t i = args.rotary; i < args.dim; ++i) {
          StoreOne(args.y.dtype, args.y.data, at + i, At(args.x, at + i));
        }
      }
    }
  }
  return base::Ok();
}

}  // namespace sluice::kernels::ref
