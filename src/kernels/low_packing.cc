#include "kernels/low_packing.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/column_strips.h"
#include "kernels/cpu/pack_columns.h"
#include "kernels/cpu/transpose.h"
#include "kernels/pack_pool.h"
#include "tensor/float16.h"

namespace sluice::kernels {
namespace {

int64_t RoundUp(int64_t a, int64_t b) {
  return (a + b - 1) / b * b;
}

// Padded for whole vectors of any target behind the last column.
int64_t ColumnsPadded(int64_t n) {
  return RoundUp(n, 32);
}

int64_t ElementBytes(WeightForm form, LowPath path) {
  if (form == WeightForm::kBF16 || form == WeightForm::kBF16Storage) return 2;
  return path == LowPath::kWords ? 2 : 1;
}

int64_t DataBytes(int64_t k, int64_t n, WeightForm form, LowPath path, Target target) {
  const int64_t columns = RoundUp(n, LowPanelColumns(path, target));
  const int64_t column_bytes =
      path == LowPath::kWiden ? k * ElementBytes(form, path) : LowGroups(k, path) * 4;
  return RoundUp(columns * column_bytes, 64);
}

bool IsInt8(WeightForm form) {
  return form == WeightForm::kInt8 || form == WeightForm::kInt8Storage;
}

// Below this a factor could overflow: a column of zeros for all that f32 can tell.
constexpr float kPeakMin = 1e-35f;

// Both sides of w = code * scale for a column.
struct ColumnScale {
  float factor = 0;  // codes a unit
  float scale = 0;
  bool finite = true;
  bool exact = true;  // whether its elements are multiples of the scale
};

ColumnScale ScaleOf(const float* x, int64_t k) {
  const Target target = ActiveTarget();
  ColumnScale column;
  const float signed_peak = SLUICE_PICK_ISA(target, SignedPeak)(x, k);
  column.finite = std::isfinite(signed_peak);
  const float peak = std::fabs(signed_peak);
  if (!column.finite || peak < kPeakMin) return column;
  const int32_t exact = SLUICE_PICK_ISA(target, ExactPeakCode)(x, k, signed_peak);
  const auto code = static_cast<float>(exact == 0 ? 127 : exact);
  column.factor = code / peak;
  column.scale = peak / code;
  column.exact = exact != 0;
  return column;
}

// Whether no sum of two products of a code 0 … 255 with neighbouring weights exceeds 16 bits.
bool BytesCannotSaturate(const int8_t* column, int64_t k) {
  for (int64_t i = 0; i + 1 < k; i += 2) {
    int positive = 0, negative = 0;
    for (const int w : {int{column[i]}, int{column[i + 1]}}) (w > 0 ? positive : negative) += w;
    if (positive * 255 > 32767 || negative * 255 < -32768) return false;
  }
  return true;
}

// The strip's columns as words of four bytes along k, ready to be turned into a panel; memory for
// one strip in each lane of the packing threads.
class StripWords {
 public:
  StripWords(int64_t words, int lanes) : words_(words), memory_(static_cast<size_t>(lanes)) {}

  // Zeros behind what a column fills, and in columns that are not there, stay from strip to strip.
  std::byte* Column(int lane, int64_t column) {
    std::vector<uint32_t>& own = memory_[static_cast<size_t>(lane)];
    if (own.empty()) own.resize(static_cast<size_t>(kStripColumns * words_), 0);
    return reinterpret_cast<std::byte*>(own.data() + column * words_);
  }
  // Into [words, width] of a panel.
  void Place(int lane, int64_t width, std::byte* panel) {
    SLUICE_PICK_ISA(ActiveTarget(), TransposeWords)
    (reinterpret_cast<const uint32_t*>(Column(lane, 0)), words_, kStripColumns, words_,
     reinterpret_cast<uint32_t*>(panel), width);
  }

 private:
  int64_t words_;
  std::vector<std::vector<uint32_t>> memory_;
};

// Whether the codes of all columns may be multiplied as bytes.
bool BytesSuffice(const ColumnStrips& strips) {
  std::atomic<bool> suffice{true};
  std::vector<std::vector<int8_t>> memory(static_cast<size_t>(PackPool().lanes()));
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    std::vector<int8_t>& codes = memory[static_cast<size_t>(strip.lane)];
    codes.resize(static_cast<size_t>(strips.k()));
    for (int64_t j = 0; j < strip.columns && suffice; ++j) {
      const float* const x = strip.x + j * strip.stride;
      const ColumnScale column = ScaleOf(x, strips.k());
      if (!column.finite) continue;
      SLUICE_PICK_ISA(ActiveTarget(), EncodeColumn)(x, strips.k(), column.factor, codes.data());
      if (!BytesCannotSaturate(codes.data(), strips.k())) suffice = false;
    }
    return suffice.load();
  });
  return suffice;
}

// Where byte `byte` of column n's padded run along k lies.
int64_t GroupedAt(const LowMatrix& matrix, int64_t n, int64_t byte) {
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  return n / width * width * matrix.groups * 4 + byte / 4 * width * 4 + n % width * 4 + byte % 4;
}
int64_t WideAt(const LowMatrix& matrix, int64_t k, int64_t n) {
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  return n / width * width * matrix.k + k * width + n % width;
}

// Elements of `Bytes` bytes as [k, width], for products that widen them.
template <class T>
void PlaceWide(const LowMatrix& matrix, int64_t n, const T* column, std::byte* out) {
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  T* const to = reinterpret_cast<T*>(out) + WideAt(matrix, 0, n);
  for (int64_t k = 0; k < matrix.k; ++k) to[k * width] = column[k];
}

// Codes, scales and sums of a form of int8.
base::Status PackInt8(const ColumnStrips& strips, const LowMatrix& matrix, std::byte* out) {
  const int64_t k = matrix.k;
  const bool wide = matrix.path == LowPath::kWiden;
  const bool words = matrix.path == LowPath::kWords;
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  const int lanes = PackPool().lanes();
  StripWords turned(wide ? 0 : matrix.groups, lanes);
  std::vector<std::vector<int8_t>> memory(static_cast<size_t>(lanes));
  FirstColumn odd;
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    std::vector<int8_t>& codes = memory[static_cast<size_t>(strip.lane)];
    codes.resize(static_cast<size_t>(k));
    for (int64_t j = 0; j < kStripColumns; ++j) {
      const int64_t n = strip.column + j;
      std::byte* const to = wide ? nullptr : turned.Column(strip.lane, j);
      if (j >= strip.columns) {
        if (!wide) std::memset(to, 0, static_cast<size_t>(matrix.groups * 4));
        continue;
      }
      const float* const x = strip.x + j * strip.stride;
      const ColumnScale column = ScaleOf(x, k);
      if (!column.finite) odd.Note(n);
      const auto encode = SLUICE_PICK_ISA(matrix.target, EncodeColumn);
      int8_t* const at = wide || words ? codes.data() : reinterpret_cast<int8_t*>(to);
      const int32_t sum = encode(x, k, column.finite ? column.factor : 0.0f, at);
      if (words) std::copy(codes.begin(), codes.end(), reinterpret_cast<int16_t*>(to));
      if (wide) PlaceWide(matrix, n, codes.data(), out);
      const_cast<float*>(matrix.scales)[n] = column.scale;
      if (matrix.sums != nullptr) const_cast<float*>(matrix.sums)[n] = static_cast<float>(sum);
    }
    if (!wide) turned.Place(strip.lane, width, out + GroupedAt(matrix, strip.column, 0));
    return true;
  });
  if (odd.any()) return odd.NotFinite();
  return base::Ok();
}

void PackBrain(const ColumnStrips& strips, const LowMatrix& matrix, std::byte* out) {
  const int64_t k = matrix.k;
  const bool wide = matrix.path == LowPath::kWiden;
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  const int64_t words = wide ? (k + 1) / 2 : matrix.groups;
  StripWords turned(words, PackPool().lanes());
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    for (int64_t j = 0; j < kStripColumns; ++j) {
      std::byte* const to = turned.Column(strip.lane, j);
      if (j >= strip.columns) {
        std::memset(to, 0, static_cast<size_t>(words * 4));
        continue;
      }
      ConvertArgs args;
      args.from = tensor::DType::kF32;
      args.to = tensor::DType::kBF16;
      args.count = k;
      args.x = strip.x + j * strip.stride;
      args.y = to;
      SLUICE_PICK_ISA(matrix.target, RunConvert)(args, 0, k);
      if (wide) PlaceWide(matrix, strip.column + j, reinterpret_cast<const tensor::BF16*>(to), out);
    }
    if (!wide) turned.Place(strip.lane, width, out + GroupedAt(matrix, strip.column, 0));
    return true;
  });
}

}  // namespace

bool HoldsInt8Exactly(const MatrixSource& source) {
  const ColumnStrips strips({&source, 1});
  std::atomic<bool> exact{true};
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    for (int64_t j = 0; j < strip.columns && exact; ++j) {
      const ColumnScale column = ScaleOf(strip.x + j * strip.stride, strips.k());
      if (!column.finite || !column.exact) exact = false;
    }
    return exact.load();
  });
  return exact;
}

bool LowFormTakes(WeightForm form, int64_t k, int64_t n) {
  if (k < 1 || n < 1) return false;
  return form != WeightForm::kInt8 || k <= kLowDepthMax;
}

int64_t LowMatrixBytes(int64_t k, int64_t n, WeightForm form) {
  return DataBytes(k, n, form, PathFor(form), ActiveTarget()) +
         (IsInt8(form) ? 2 * ColumnsPadded(n) * 4 : 0);
}

LowMatrix MovedLow(const LowMatrix& matrix, const std::byte* data) {
  LowMatrix moved = matrix;
  moved.data = data;
  if (!IsInt8(matrix.form)) return moved;
  const std::byte* const scales =
      data + DataBytes(matrix.k, matrix.n, matrix.form, matrix.path, matrix.target);
  moved.scales = reinterpret_cast<const float*>(scales);
  if (matrix.form == WeightForm::kInt8) moved.sums = moved.scales + ColumnsPadded(matrix.n);
  return moved;
}

int64_t PackedLowBytes(const LowMatrix& matrix) {
  return DataBytes(matrix.k, matrix.n, matrix.form, matrix.path, matrix.target) +
         (IsInt8(matrix.form) ? 2 * ColumnsPadded(matrix.n) * 4 : 0);
}

base::Result<LowMatrix> PackLow(MatrixParts parts, WeightForm form, std::byte* out) {
  const ColumnStrips strips(parts);
  CHECK(LowFormTakes(form, strips.k(), strips.n()));
  CHECK_EQ(reinterpret_cast<uintptr_t>(out) % 64, 0u);
  LowMatrix matrix;
  matrix.k = strips.k();
  matrix.n = strips.n();
  matrix.form = form;
  matrix.path = PathFor(form);
  matrix.target = ActiveTarget();
  if (matrix.path == LowPath::kWords && BytesSuffice(strips)) matrix.path = LowPath::kBytes;
  matrix.groups = LowGroups(matrix.k, matrix.path);
  matrix = MovedLow(matrix, out);
  // Strips are whole but for the columns behind the last one, in a panel wider than they are.
  const int64_t width = LowPanelColumns(matrix.path, matrix.target);
  const int64_t last = (matrix.n - 1) / width * width;
  const bool wide = matrix.path == LowPath::kWiden;
  const int64_t whole =
      wide ? WideAt(matrix, 0, last) * ElementBytes(form, matrix.path) : GroupedAt(matrix, last, 0);
  std::memset(out + whole, 0, static_cast<size_t>(PackedLowBytes(matrix) - whole));
  if (IsInt8(form)) {
    TRY(PackInt8(strips, matrix, out));
  } else {
    PackBrain(strips, matrix, out);
  }
  return matrix;
}

float LowElement(const LowMatrix& matrix, int64_t k, int64_t n) {
  const auto read = [&](auto value) {
    constexpr int64_t kBytes = sizeof(value);
    const int64_t at = matrix.path == LowPath::kWiden ? WideAt(matrix, k, n) * kBytes
                                                      : GroupedAt(matrix, n, k * kBytes);
    std::memcpy(&value, matrix.data + at, sizeof(value));
    return value;
  };
  if (!IsInt8(matrix.form)) return tensor::ToFloat(read(tensor::BF16{}));
  const int code = matrix.path == LowPath::kWords ? int{read(int16_t{0})} : int{read(int8_t{0})};
  return static_cast<float>(code) * matrix.scales[n];
}

}  // namespace sluice::kernels
