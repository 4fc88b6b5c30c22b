#include "kernels/low_packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/float16.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

float ElementAt(const MatrixSource& source, int64_t k, int64_t n) {
  const int64_t at = k * source.k_stride + n * source.n_stride;
  if (source.dtype == DType::kF16)
    return tensor::ToFloat(static_cast<const tensor::F16*>(source.data)[at]);
  if (source.dtype == DType::kBF16)
    return tensor::ToFloat(static_cast<const tensor::BF16*>(source.data)[at]);
  return static_cast<const float*>(source.data)[at];
}

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

// Codes of the weights [n, k] and their columns' scales and sums.
struct Codes {
  std::vector<int8_t> values;
  std::vector<float> scales;
  std::vector<float> sums;
};

// The code of a column's largest element, signed: the greatest one for which all elements are
// integers, or 127 where there is none.
int32_t PeakCode(const MatrixSource& source, int64_t n, float peak) {
  // What rounding a product of a code and a scale to f32, and dividing again, leaves.
  constexpr float kSlack = 1e-4f;
  for (int32_t code = peak < 0 ? 128 : 127; code >= 1; --code) {
    const float factor = static_cast<float>(code) / std::fabs(peak);
    bool fits = std::isfinite(factor);
    for (int64_t k = 0; fits && k < source.k; ++k) {
      const float x = ElementAt(source, k, n) * factor;
      fits = std::fabs(x - std::nearbyint(x)) <= kSlack;
    }
    if (fits) return code;
  }
  return 0;
}

// Of each column the element of the largest magnitude; the negative one of two.
std::vector<float> PeaksOf(const MatrixSource& source) {
  std::vector<float> peaks(static_cast<size_t>(source.n), 0.0f);
  for (int64_t k = 0; k < source.k; ++k) {
    for (int64_t n = 0; n < source.n; ++n) {
      const float x = ElementAt(source, k, n);
      float& peak = peaks[static_cast<size_t>(n)];
      if (std::fabs(x) > std::fabs(peak) || x == -std::fabs(peak)) peak = x;
      if (!std::isfinite(x)) peak = NAN;
      if (std::isnan(peak)) peak = NAN;
    }
  }
  return peaks;
}

// Below this a factor could overflow: a column of zeros for all that f32 can tell.
constexpr float kPeakMin = 1e-35f;

base::Result<Codes> Quantise(const MatrixSource& source) {
  Codes codes;
  const auto count = static_cast<size_t>(source.n);
  codes.values.resize(count * static_cast<size_t>(source.k));
  codes.scales.assign(count, 0.0f);
  codes.sums.assign(count, 0.0f);
  const std::vector<float> peaks = PeaksOf(source);
  std::vector<float> factors(count, 0.0f);
  for (size_t n = 0; n < count; ++n) {
    if (!std::isfinite(peaks[n])) {
      return base::InvalidArgument("column " + std::to_string(n) +
                                   " of the weight holds a value that is not finite");
    }
    const float peak = std::fabs(peaks[n]);
    if (peak < kPeakMin) continue;
    const int32_t exact = PeakCode(source, static_cast<int64_t>(n), peaks[n]);
    const auto code = static_cast<float>(exact == 0 ? 127 : exact);
    factors[n] = code / peak;
    codes.scales[n] = peak / code;
  }
  std::vector<int32_t> sums(count, 0);
  for (int64_t k = 0; k < source.k; ++k) {
    for (size_t n = 0; n < count; ++n) {
      const float x = ElementAt(source, k, static_cast<int64_t>(n)) * factors[n];
      const auto code = static_cast<int8_t>(std::clamp(std::nearbyint(x), -128.0f, 127.0f));
      codes.values[n * static_cast<size_t>(source.k) + static_cast<size_t>(k)] = code;
      sums[n] += code;
    }
  }
  for (size_t n = 0; n < count; ++n) codes.sums[n] = static_cast<float>(sums[n]);
  return codes;
}

// Whether no sum of two products of a code 0 … 255 with neighbouring weights exceeds 16 bits.
bool BytesCannotSaturate(const Codes& codes, int64_t k) {
  const int64_t count = static_cast<int64_t>(codes.sums.size());
  for (int64_t n = 0; n < count; ++n) {
    const int8_t* const column = codes.values.data() + n * k;
    for (int64_t i = 0; i + 1 < k; i += 2) {
      int positive = 0, negative = 0;
      for (const int w : {int{column[i]}, int{column[i + 1]}}) (w > 0 ? positive : negative) += w;
      if (positive * 255 > 32767 || negative * 255 < -32768) return false;
    }
  }
  return true;
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

template <class T>
void Place(const LowMatrix& matrix, std::byte* out, int64_t k, int64_t n, T value) {
  constexpr int64_t kBytes = sizeof(T);
  const int64_t at = matrix.path == LowPath::kWiden ? WideAt(matrix, k, n) * kBytes
                                                    : GroupedAt(matrix, n, k * kBytes);
  std::memcpy(out + at, &value, sizeof(T));
}

void PlaceCodes(const LowMatrix& matrix, const Codes& codes, std::byte* out) {
  for (int64_t n = 0; n < matrix.n; ++n) {
    const int8_t* const column = codes.values.data() + n * matrix.k;
    for (int64_t k = 0; k < matrix.k; ++k) {
      if (matrix.path == LowPath::kWords) {
        Place<int16_t>(matrix, out, k, n, column[k]);
      } else {
        Place<int8_t>(matrix, out, k, n, column[k]);
      }
    }
  }
}

}  // namespace

bool HoldsInt8Exactly(const MatrixSource& source) {
  const std::vector<float> peaks = PeaksOf(source);
  for (int64_t n = 0; n < source.n; ++n) {
    const float peak = peaks[static_cast<size_t>(n)];
    if (!std::isfinite(peak)) return false;
    if (std::fabs(peak) >= kPeakMin && PeakCode(source, n, peak) == 0) return false;
  }
  return true;
}

bool LowFormTakes(WeightForm form, int64_t k, int64_t n) {
  if (k < 1 || n < 1) return false;
  return form != WeightForm::kInt8 || k <= kLowDepthMax;
}

int64_t LowMatrixBytes(const MatrixSource& source, WeightForm form) {
  const LowPath path = PathFor(form);
  return DataBytes(source.k, source.n, form, path, ActiveTarget()) +
         (IsInt8(form) ? 2 * ColumnsPadded(source.n) * 4 : 0);
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

base::Result<LowMatrix> PackLow(const MatrixSource& source, WeightForm form, std::byte* out) {
  CHECK(LowFormTakes(form, source.k, source.n));
  CHECK_EQ(reinterpret_cast<uintptr_t>(out) % 64, 0u);
  LowMatrix matrix;
  matrix.k = source.k;
  matrix.n = source.n;
  matrix.form = form;
  matrix.path = PathFor(form);
  matrix.target = ActiveTarget();
  Codes codes;
  if (IsInt8(form)) {
    codes = TRY(Quantise(source));
    if (matrix.path == LowPath::kWords && BytesCannotSaturate(codes, source.k))
      matrix.path = LowPath::kBytes;
  }
  matrix.groups = LowGroups(source.k, matrix.path);
  std::memset(out, 0, static_cast<size_t>(PackedLowBytes(matrix)));
  if (IsInt8(form)) {
    PlaceCodes(matrix, codes, out);
  } else {
    for (int64_t k = 0; k < source.k; ++k) {
      for (int64_t n = 0; n < source.n; ++n)
        Place<tensor::BF16>(matrix, out, k, n, tensor::ToBF16(ElementAt(source, k, n)));
    }
  }
  matrix = MovedLow(matrix, out);
  if (!IsInt8(form)) return matrix;
  std::copy(codes.scales.begin(), codes.scales.end(), const_cast<float*>(matrix.scales));
  if (matrix.sums != nullptr)
    std::copy(codes.sums.begin(), codes.sums.end(), const_cast<float*>(matrix.sums));
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
