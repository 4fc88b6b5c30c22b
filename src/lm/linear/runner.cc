#include "lm/linear/runner.h"

#include <algorithm>

namespace sluice::lm {
namespace {

// A kernel's tiles in pieces that lanes claim in turn, each round's smaller than the round's
// before: few beginnings, and lanes that end together.
class Pieces {
 public:
  Pieces(int64_t tiles, int64_t lanes) : tiles_(tiles), lanes_(lanes) {}
  int64_t count() const { return kRounds * lanes_; }
  // The first tile of a piece; of count() the end.
  int64_t Begin(int64_t piece) const {
    const int64_t round = piece / lanes_, before = round * (2 * kRounds + 1 - round) / 2;
    const int64_t parts = before * lanes_ + piece % lanes_ * (kRounds - round);
    return tiles_ * parts / (kParts * lanes_);
  }

 private:
  // Fewer than twice the pieces of a lane that a pool would hand out one by one.
  static constexpr int64_t kRounds = 7;
  static constexpr int64_t kParts = kRounds * (kRounds + 1) / 2;
  const int64_t tiles_, lanes_;
};

}  // namespace

Runner::Runner(Options options)
    : options_(options),
      lanes_(options.pool == nullptr ? 1 : static_cast<double>(options.pool->lanes())),
      quantum_ns_(
          options.safepoint == nullptr ? 0 : static_cast<double>(options.safepoint->quantum().ns)) {
}

double Runner::Predict(kernels::Work work, double speedup) const {
  return std::max(static_cast<double>(work.flops) / (options_.rates.flops_per_ns * speedup),
                  static_cast<double>(work.bytes) / options_.rates.bytes_per_ns);
}

bool Runner::RunTiles(int64_t tiles, double whole_ns,
                      base::FunctionRef<void(kernels::Tiles)> kernel) {
  return RunInLanes(tiles, whole_ns, [&](kernels::Tiles range, int) { kernel(range); });
}

bool Runner::RunInLanes(int64_t tiles, double whole_ns,
                        base::FunctionRef<void(kernels::Tiles, int)> kernel) {
  if (tiles == 0) return true;
  const double tile_ns = whole_ns / static_cast<double>(tiles);
  for (int64_t begin = 0; begin < tiles;) {
    int64_t count = tiles - begin;
    if (quantum_ns_ > 0) {
      // Lanes work side by side, so a piece may hold that many more tiles.
      const double lane_ns = tile_ns / lanes_;
      if (since_safepoint_ns_ > 0 && since_safepoint_ns_ + lane_ns > quantum_ns_) {
        since_safepoint_ns_ = 0;
        if (!options_.safepoint->Reach()) return false;
      }
      const double fit = (quantum_ns_ - since_safepoint_ns_) / std::max(lane_ns, 1e-3);
      count = std::clamp<int64_t>(static_cast<int64_t>(std::min(fit, 1e15)), 1, count);
      since_safepoint_ns_ += lane_ns * static_cast<double>(count);
    }
    if (options_.pool == nullptr || count == 1) {
      kernel({begin, begin + count}, 0);
    } else {
      const Pieces pieces(count, options_.pool->lanes());
      const double piece_ns =
          tile_ns * static_cast<double>(count) / static_cast<double>(pieces.count());
      const auto run = [&](int64_t from, int64_t to, int lane) {
        const kernels::Tiles range = {begin + pieces.Begin(from), begin + pieces.Begin(to)};
        if (range.begin < range.end) kernel(range, lane);
      };
      options_.pool->ParallelForLanes(pieces.count(), piece_ns, run);
    }
    begin += count;
  }
  return true;
}

}  // namespace sluice::lm
