// The exchange structs of DLPack 0.8 (https://dmlc.github.io/dlpack/latest/c_api.html): an ABI, so
// names and order are the specification's.
#pragma once

#include <cstdint>

namespace sluice::python {

struct DLDevice {
  int32_t device_type;  // 1: host memory
  int32_t device_id;
};
struct DLDataType {
  uint8_t code;  // kDLInt and so on
  uint8_t bits;
  uint16_t lanes;
};
inline constexpr int32_t kDLCPU = 1;
inline constexpr uint8_t kDLInt = 0;
inline constexpr uint8_t kDLUInt = 1;
inline constexpr uint8_t kDLFloat = 2;
inline constexpr uint8_t kDLBfloat = 4;
inline constexpr uint8_t kDLBool = 6;

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: packed row-major
  uint64_t byte_offset;
};

// What a capsule named "dltensor" holds.
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

}  // namespace sluice::python
