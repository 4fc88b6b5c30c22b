// Products over packed and unpacked B, compiled once per target: a block of A stays in L2 while the
// panels of B pass over it, tiles of C are in registers.
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/column.h"
#include "kernels/cpu/finish.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// C of the block of rows [begin, end) over one block of k, [k0, k0 + depth).
struct Block {
  int64_t begin, end;
  int64_t k0, depth;
  bool fetches_next_rows;  // L2 has room for the next block's rows of A
};

inline const char* Bytes(const float* p) {
  return reinterpret_cast<const char*>(p);
}

// What waits beyond L2 and is fetched while the strips of one panel of B run: each strip's share of
// the next panel of B and of the rows of A of the next block.
class Fetcher {
 public:
  Fetcher(const GemmArgs& args, const Block& block, int64_t n0)
      : part_(PartOf(block.depth)),
        parts_(block.depth / part_),
        b_parts_(parts_),
        b_(Bytes(args.b.data + (n0 + kPanel) * args.b.k + block.k0 * kPanel)) {
    const int64_t strips = (block.end - block.begin + kStripRows - 1) / kStripRows;
    if (block.end - block.begin <= kFewRows) {
      // All of the next panel in one stretch: a product of a microsecond is spared the divisions.
      part_ = block.depth;
      parts_ = b_parts_ = 1;
      b_step_ = kPanel * kFloatBytes;
      return;
    }
    b_share_ = block.depth * kPanel * kFloatBytes / strips;
    const int64_t rows = Min(args.m - block.end, block.end - block.begin);
    // Only rows that lie side by side are one stretch of memory.
    if (block.fetches_next_rows && rows > 0 && strips >= kStripsMin && parts_ > kPartsOfB &&
        args.a_stride <= block.depth + kPanel) {
      b_parts_ = kPartsOfB;
      const int64_t turns = (args.b.n + kPanel - 1) / kPanel * strips;
      a_share_ = rows * args.a_stride * kFloatBytes / turns + 1;
      a_ = Bytes(args.a + block.end * args.a_stride) + n0 / kPanel * strips * a_share_;
      a_step_ = a_share_ / ((parts_ - b_parts_) * part_) + 1;
    }
    b_step_ = b_share_ / (b_parts_ * part_) + 1;
  }

  void Set(int64_t strip, MicroArgs& micro) const {
    micro.part = part_;
    const char* b = b_ + strip * b_share_;
    int64_t i = 0;
    for (; i < b_parts_; ++i, b += part_ * b_step_) micro.ahead[i] = {b, b_step_};
    const char* a = a_ + strip * a_share_;
    for (; i < parts_; ++i, a += part_ * a_step_) micro.ahead[i] = {a, a_step_};
  }

 private:
  static constexpr int64_t kFloatBytes = sizeof(float);
  static constexpr int64_t kFewRows = 3;
  // Parts that fetch B where others fetch A: with fewer strips than kStripsMin, B needs all of the
  // prefetches, one for each k.
  static constexpr int64_t kPartsOfB = 4;
  static constexpr int64_t kStripsMin =
      (kPanel * kFloatBytes / 64 * kAheads + kPartsOfB - 1) / kPartsOfB;

  int64_t part_;
  int64_t parts_;
  int64_t b_parts_;  // the first ones
  const char* b_;
  int64_t b_share_ = 0;  // bytes for each strip
  int64_t b_step_ = 0;
  const char* a_ = nullptr;
  int64_t a_share_ = 0;
  int64_t a_step_ = 0;
};

// Asks for what follows the product.
inline void FetchRows(const float* from, int64_t stride, int64_t rows, int64_t width) {
  if (from == nullptr) return;
  for (int64_t i = 0; i < rows; ++i, from += stride) {
    for (int64_t j = 0; j < width; j += 16) __builtin_prefetch(from + j);
  }
}

// Runs tiles of C over one block of k.
class TileRunner {
 public:
  struct Place {
    int64_t row, column;
  };

  TileRunner(const GemmArgs& args, const Block& block)
      : args_(args), b_(args.b.data + block.k0 * kPanel), a_(args.a + block.k0) {
    const bool last = block.k0 + block.depth == args.b.k;
    has_bias_ = last && args.bias != nullptr;
    finishes_ = last && (args.residual != nullptr || args.factor != nullptr ||
                         args.activation != Activation::kNone);
    micro_.a_row = args.a_stride;
    micro_.b_row = kPanel;
    micro_.b_panel = args.b.k * kPanel;
    micro_.c_row = args.c_stride;
    micro_.residual_row = args.residual_stride;
    // A residual alone is added in registers.
    micro_.adds_residual = finishes_ && args.residual != nullptr && args.factor == nullptr &&
                           args.activation == Activation::kNone;
    micro_.depth = block.depth;
    micro_.accumulate = args.accumulate || block.k0 > 0;
  }

  // The tile at `at`, `rows` high and as wide as one call makes it of `columns` and `panels` at
  // most; returns its width. next(width) is the place of the tile that follows, fetch(micro) sets
  // what is fetched for later.
  template <class Next, class Fetch>
  int64_t Run(Place at, int64_t rows, int64_t columns, int64_t panels, Next next, Fetch fetch) {
    micro_.a = a_ + at.row * args_.a_stride;
    micro_.b = b_ + at.column * args_.b.k;
    micro_.c = args_.c + at.row * args_.c_stride + at.column;
    micro_.bias = has_bias_ ? args_.bias + at.column : nullptr;
    const MicroChoice tile = ChooseMicro(static_cast<int>(rows), columns, panels, micro_);
    const Place after = next(tile.width);
    micro_.next_c = args_.c + after.row * args_.c_stride + after.column;
    fetch(micro_);
    if (!finishes_) {
      tile.run(micro_);
      return tile.width;
    }
    const BesideC residual = Beside(args_.residual, args_.residual_stride, at);
    const BesideC factor = Beside(args_.factor, args_.factor_stride, at);
    micro_.residual = residual.data;
    micro_.next_residual = Beside(args_.residual, args_.residual_stride, after).data;
    FetchRows(factor.data, factor.row, rows, tile.width);
    tile.run(micro_);
    if (factor.data != nullptr) {
      FinishCross(micro_.c, args_.c_stride, factor, residual, rows, tile.width, args_.activation);
    } else if (!micro_.adds_residual) {
      Finish(micro_.c, args_.c_stride, residual.data, residual.row, rows, tile.width,
             args_.activation);
    }
    return tile.width;
  }

 private:
  static BesideC Beside(const float* data, int64_t stride, Place at) {
    return {data == nullptr ? nullptr : data + at.row * stride + at.column, stride};
  }

  const GemmArgs& args_;
  const float* b_;
  const float* a_;
  bool has_bias_ = false;
  bool finishes_ = false;
  MicroArgs micro_ = {};
};

// The tiles of one panel of B (of several, where few rows want it), strip by strip. Returns how
// many columns these were.
int64_t RunPanelOfB(const GemmArgs& args, const Block& block, TileRunner& runner, int64_t n0,
                    int64_t columns) {
  const int64_t rows_all = block.end - block.begin;
  const int64_t panels = rows_all <= kStripRows ? PanelsAtOnce(static_cast<int>(rows_all)) : 1;
  const Fetcher fetcher(args, block, n0);
  int64_t width = 0;
  int64_t strip = 0;
  ForStrips(block.begin, block.end, [&](int64_t row, int64_t rows) {
    const auto next = [&](int64_t done) {
      return row + rows < block.end ? TileRunner::Place{row + rows, n0}
                                    : TileRunner::Place{block.begin, n0 + done};
    };
    width = runner.Run({row, n0}, rows, columns, panels, next,
                       [&](MicroArgs& micro) { fetcher.Set(strip++, micro); });
  });
  return width;
}

// Rows [begin, end) of a product with one column. What follows runs over many rows at once.
void RunColumn(const GemmArgs& args, int64_t begin, int64_t end) {
  constexpr int64_t kRows = 64;
  alignas(64) float x[kRows];
  alignas(64) float residual[kRows];
  alignas(64) float factor[kRows];
  for (int64_t row = begin; row < end; row += kRows) {
    const int64_t rows = Min(kRows, end - row);
    ColumnProduct(args.a + row * args.a_stride, args.a_stride, rows, args.b, x);
    float* const c = args.c + row * args.c_stride;
    for (int64_t i = 0; i < rows; ++i) {
      if (args.accumulate) x[i] = c[i * args.c_stride] + x[i];
      if (args.bias != nullptr) x[i] = x[i] + args.bias[0];
      if (args.residual != nullptr) residual[i] = args.residual[(row + i) * args.residual_stride];
      if (args.factor != nullptr) factor[i] = args.factor[(row + i) * args.factor_stride];
    }
    const float* const add = args.residual == nullptr ? nullptr : residual;
    if (args.factor != nullptr) {
      FinishCross(x, 0, {factor, 0}, {add, 0}, 1, rows, args.activation);
    } else {
      Finish(x, 0, add, 0, 1, rows, args.activation);
    }
    for (int64_t i = 0; i < rows; ++i) c[i * args.c_stride] = x[i];
  }
}

// All rows of a region over a block of B that stays in L2. Each strip of rows passes over all of it
// before the next one, which is fetched meanwhile: A and C move in the order of memory, and B once.
// The last two strips fetch the block that follows at `next_b`, unless null.
void RunKeepingB(const GemmArgs& args, const GemmRegion& region, const Block& block,
                 const float* next_b) {
  TileRunner runner(args, block);
  const int64_t columns = region.column_end - region.column_begin;
  const int64_t panels = (columns + kPanel - 1) / kPanel;
  const int64_t part = PartOf(block.depth);
  const int64_t parts = block.depth / part;
  const int64_t row_floats = block.depth;
  int64_t halves = 0;  // of panels of the next block, fetched so far
  ForStrips(block.begin, block.end, [&](int64_t row, int64_t rows) {
    // The next strip's rows, a stretch of equal length with each part of each tile.
    const int64_t next_rows = Min(kStripRows, block.end - row - rows);
    const bool fetches_b = next_b != nullptr && block.end - row - rows <= kStripRows;
    const int64_t stretch = next_rows * row_floats / (panels * parts) + 1;
    const int64_t step = stretch * static_cast<int64_t>(sizeof(float)) / part + 1;
    const float* ahead = args.a + (next_rows > 0 ? row + rows : row) * args.a_stride + block.k0;
    int64_t at = 0;  // within the row
    for (int64_t n0 = region.column_begin; n0 < region.column_end;) {
      const auto next = [&](int64_t done) {
        return n0 + done < region.column_end ? TileRunner::Place{row, n0 + done}
                                             : TileRunner::Place{row + rows, region.column_begin};
      };
      n0 += runner.Run({row, n0}, rows, region.column_end - n0, 1, next, [&](MicroArgs& micro) {
        micro.part = part;
        if (fetches_b) {
          constexpr int64_t kStep = kPanel * sizeof(float) / 2;
          const char* const b =
              Bytes(next_b + halves / 2 * kPanel * args.b.k) + halves % 2 * block.depth * kStep;
          for (int64_t i = 0; i < parts; ++i) micro.ahead[i] = {b + i * part * kStep, kStep};
          ++halves;
          return;
        }
        for (int64_t i = 0; i < parts; ++i) {
          micro.ahead[i] = {Bytes(ahead + at), step};
          for (at += stretch; at >= row_floats; at -= row_floats) ahead += args.a_stride;
        }
      });
    }
  });
}

}  // namespace

void RunGemm(const GemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  if (args.b.n == 1) return RunColumn(args, region.row_begin, region.row_end);
  if (plan.keeps_b) {
    for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.tile_columns) {
      GemmRegion part = region;
      part.column_begin = n0;
      part.column_end = Min(region.column_end, n0 + plan.tile_columns);
      for (int64_t k0 = 0; k0 < args.b.k; k0 += plan.block_depth) {
        const int64_t depth = Min(plan.block_depth, args.b.k - k0);
        const float* next_b = nullptr;
        if (k0 + depth < args.b.k) {
          next_b = args.b.data + n0 * args.b.k + (k0 + depth) * kPanel;
        } else if (part.column_end < region.column_end) {
          next_b = args.b.data + part.column_end * args.b.k;
        }
        RunKeepingB(args, part, {region.row_begin, region.row_end, k0, depth, false}, next_b);
      }
    }
    return;
  }
  for (int64_t row = region.row_begin; row < region.row_end; row += plan.tile_rows) {
    const int64_t row_end = Min(region.row_end, row + plan.tile_rows);
    for (int64_t k0 = 0; k0 < args.b.k; k0 += plan.block_depth) {
      const Block block = {row, row_end, k0, Min(plan.block_depth, args.b.k - k0),
                           plan.fetches_next_rows};
      TileRunner runner(args, block);
      for (int64_t n0 = region.column_begin; n0 < region.column_end;) {
        n0 += RunPanelOfB(args, block, runner, n0, region.column_end - n0);
      }
    }
  }
}

void RunMatMul(const MatMulArgs& args, const GemmPlan& plan, int64_t matrix,
               const GemmRegion& region) {
  alignas(64) float strip[kStripRows * kStripStride];
  alignas(64) float block[kStackBlock];
  const int64_t outer = matrix / args.inner;
  const int64_t inner = matrix % args.inner;
  const float* const a = args.a + outer * args.a_outer + inner * args.a_inner;
  const float* const b = args.b + outer * args.b_outer + inner * args.b_inner;
  float* const c = args.c + outer * args.c_outer + inner * args.c_inner;
  if (args.k == 0) {
    for (int64_t i = region.row_begin; i < region.row_end; ++i) {
      for (int64_t j = region.column_begin; j < region.column_end; ++j) c[i * args.c_row + j] = 0;
    }
    return;
  }
  // One strip reads B once: whole panels straight from where they lie, when they lie in rows.
  const bool direct = region.row_end - region.row_begin <= kStripRows && args.b_column == 1;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t columns = Min(region.column_end - n0, plan.block_columns);
    const int64_t whole = direct ? columns / kPanel * kPanel : 0;
    for (int64_t k0 = 0; k0 < args.k; k0 += plan.block_depth) {
      const int64_t depth = Min(plan.block_depth, args.k - k0);
      const float* const b_block = b + k0 * args.b_row + n0 * args.b_column;
      PackBlock(b_block + whole * args.b_column, args.b_row, args.b_column, depth, columns - whole,
                block);
      ForStrips(region.row_begin, region.row_end, [&](int64_t row, int64_t rows) {
        PackStrip(a + row * args.a_row + k0 * args.a_column, args.a_row, args.a_column, rows, depth,
                  args.alpha, strip);
        MicroArgs micro = {};
        micro.a = strip;
        micro.c = c + row * args.c_row + n0;
        micro.c_row = args.c_row;
        micro.depth = depth;
        micro.accumulate = k0 > 0;
        if (whole > 0) {
          micro.b = b_block;
          micro.b_row = args.b_row;
          micro.b_panel = kPanel;
          RunPanels(micro, static_cast<int>(rows), whole, [](int64_t, int64_t) {});
        }
        if (whole == columns) return;
        micro.c += whole;
        micro.b = block;
        micro.b_row = kPanel;
        micro.b_panel = depth * kPanel;
        RunPanels(micro, static_cast<int>(rows), columns - whole, [](int64_t, int64_t) {});
      });
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
