#include "kernels/ref/blocks.h"

#include <cstring>

#include "base/check.h"
#include "kernels/block_int4.h"
#include "tensor/float16.h"

namespace sluice::kernels::ref {
namespace {

using tensor::BlockFormat;

template <class T>
T At(const std::byte* data, int64_t index = 0) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}
float Half(const std::byte* data) {
  return tensor::ToFloat(At<tensor::F16>(data));
}
int Byte(const std::byte* data, int index) {
  return static_cast<int>(data[index]);
}

// Q4_0, Q4_1, Q5_0, Q5_1: halves of bytes, the low ones first, and perhaps a fifth bit.
struct Nibbles {
  bool has_min;
  bool has_fifth;
};
void DequantiseNibbles(const std::byte* block, Nibbles kind, float* out) {
  const float scale = Half(block);
  const float least = kind.has_min ? Half(block + 2) : 0.0f;
  const std::byte* at = block + (kind.has_min ? 4 : 2);
  const uint32_t fifth = kind.has_fifth ? At<uint32_t>(at) : 0;
  if (kind.has_fifth) at += 4;
  const int middle = kind.has_min ? 0 : kind.has_fifth ? 16 : 8;
  for (int j = 0; j < 32; ++j) {
    const int nibble = j < 16 ? Byte(at, j) & 15 : Byte(at, j - 16) >> 4;
    const int code = nibble | static_cast<int>((fifth >> j & 1) << 4);
    out[j] = scale * static_cast<float>(code - middle) + least;
  }
}

// Scale and minimum j of twelve bytes.
struct SixBits {
  int scale, least;
};
SixBits SixBitPair(const std::byte* packed, int j) {
  if (j < 4) return {Byte(packed, j) & 63, Byte(packed, j + 4) & 63};
  return {(Byte(packed, j + 4) & 15) | (Byte(packed, j - 4) >> 6) << 4,
          Byte(packed, j + 4) >> 4 | (Byte(packed, j) >> 6) << 4};
}

void DequantiseFourFive(const std::byte* block, bool has_fifth, float* out) {
  const float scale = Half(block), least = Half(block + 2);
  const std::byte* const fifth = block + 16;
  const std::byte* const codes = has_fifth ? block + 48 : block + 16;
  for (int j = 0; j < 8; ++j) {
    const SixBits pair = SixBitPair(block + 4, j);
    const float d = scale * static_cast<float>(pair.scale);
    const float m = least * static_cast<float>(pair.least);
    for (int l = 0; l < 32; ++l) {
      const int byte = Byte(codes, 32 * (j / 2) + l);
      int code = j % 2 == 0 ? byte & 15 : byte >> 4;
      if (has_fifth) code |= (Byte(fifth, l) >> j & 1) << 4;
      out[32 * j + l] = d * static_cast<float>(code) - m;
    }
  }
}

void DequantiseSix(const std::byte* block, float* out) {
  const float scale = Half(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, part = i % 128 / 32, l = i % 32;
    const int byte = Byte(block, 64 * half + 32 * (part % 2) + l);
    const int low = part < 2 ? byte & 15 : byte >> 4;
    const int high = Byte(block + 128, 32 * half + l) >> (2 * part) & 3;
    const auto by = static_cast<float>(At<int8_t>(block + 192, i / 16));
    out[i] = scale * by * static_cast<float>((low | high << 4) - 32);
  }
}

void DequantiseOne(BlockFormat format, const std::byte* block, float* out) {
  switch (format) {
    case BlockFormat::kF32:
      *out = At<float>(block);
      return;
    case BlockFormat::kF16:
      *out = Half(block);
      return;
    case BlockFormat::kBF16:
      *out = tensor::ToFloat(At<tensor::BF16>(block));
      return;
    case BlockFormat::kF64:
      *out = static_cast<float>(At<double>(block));
      return;
    case BlockFormat::kQ8_0:
      for (int j = 0; j < 32; ++j)
        out[j] = Half(block) * static_cast<float>(At<int8_t>(block + 2, j));
      return;
    case BlockFormat::kQ4_0:
      return DequantiseNibbles(block, {.has_min = false, .has_fifth = false}, out);
    case BlockFormat::kQ4_1:
      return DequantiseNibbles(block, {.has_min = true, .has_fifth = false}, out);
    case BlockFormat::kQ5_0:
      return DequantiseNibbles(block, {.has_min = false, .has_fifth = true}, out);
    case BlockFormat::kQ5_1:
      return DequantiseNibbles(block, {.has_min = true, .has_fifth = true}, out);
    case BlockFormat::kQ4_K:
      return DequantiseFourFive(block, false, out);
    case BlockFormat::kQ5_K:
      return DequantiseFourFive(block, true, out);
    case BlockFormat::kQ6_K:
      return DequantiseSix(block, out);
    default:
      CHECK(false) << tensor::BlockFormatName(format);
  }
}

}  // namespace

void DequantiseBlocks(BlockFormat format, const std::byte* data, int64_t count, float* out) {
  const int64_t elements = tensor::BlockElements(format), bytes = tensor::BlockBytes(format);
  CHECK_EQ(count % elements, 0);
  for (int64_t i = 0; i < count / elements; ++i)
    DequantiseOne(format, data + i * bytes, out + i * elements);
}

void BlockMatrixRow(const BlockMatrix& w, int64_t n, float* out) {
  CHECK(n >= 0 && n < w.n);
  if (w.interleaved) {
    const int64_t bytes = tensor::BlockBytes(w.format), elements = tensor::BlockElements(w.format);
    const std::byte* const panel = w.data + n / 16 * 16 * w.row_bytes;
    for (int64_t b = 0; b < w.k / elements; ++b)
      DequantiseOne(w.format, panel + (b * 16 + n % 16) * bytes, out + b * elements);
    return;
  }
  if (w.group == 0) return DequantiseBlocks(w.format, w.data + n * w.row_bytes, w.k, out);
  const bool has_min = w.format == BlockFormat::kQ4_1;
  const std::byte* const panel = w.data + n / 16 * Int4PanelBytes(w);
  const int64_t lane = n % 16;
  for (int64_t k = 0; k < w.k; ++k) {
    const int64_t g = k / w.group;
    const std::byte* const head =
        panel + g * Int4HeadBytes(w) + g * (w.group / 32) * kInt4BlockBytes;
    const std::byte* const codes =
        head + Int4HeadBytes(w) + (k - g * w.group) / 32 * kInt4BlockBytes;
    const int64_t at = k % 16;
    const int byte = Byte(codes + (16 * (at / 4) + lane) * 4 + at % 4, 0);
    const int code = k % 32 < 16 ? byte & 15 : byte >> 4;
    const float scale = tensor::ToFloat(At<tensor::BF16>(head, lane));
    out[k] = has_min ? scale * static_cast<float>(code) +
                           tensor::ToFloat(At<tensor::BF16>(head, 16 + lane))
                     : scale * static_cast<float>(code - 8);
  }
}

}  // namespace sluice::kernels::ref
