// ONNX TensorProto to tensors, with data inline or in files beside the model. Graphs are
// onnx/reader.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/mmap.h"
#include "base/result.h"
#include "graph/ir.h"
#include "tensor/tensor.h"

namespace onnx {
class TensorProto;
}

namespace sluice::graph {

// Where a model's tensors come from, and how much may come: the files that they lie in, mapped once
// each, and the bytes that the model file itself may still give. Names that lead out of the model's
// folder are refused.
class TensorSource {
 public:
  // Without a folder every external tensor is refused. `file` owns the bytes of the model file
  // where large tensors may be left there until somebody looks at them.
  TensorSource(const base::FileHandle* folder, const GraphLimits& limits,
               std::shared_ptr<const void> file = nullptr)
      : folder_(folder),
        file_(std::move(file)),
        tensor_bytes_max_(limits.tensor_bytes_max),
        inline_bytes_left_(limits.inline_bytes_max) {}
  // Bytes [offset, offset + length) of `location`. kInvalidArgument when the file is shorter.
  base::Result<tensor::Buffer> ReadFile(const std::string& location, int64_t offset,
                                        int64_t length);
  // kResourceExhausted when the model file holds (or multiplies, by functions) more than the limit.
  base::Status TakeInline(int64_t bytes);
  int64_t tensor_bytes_max() const { return tensor_bytes_max_; }
  const std::shared_ptr<const void>& file() const { return file_; }

 private:
  const base::FileHandle* folder_;
  std::shared_ptr<const void> file_;
  int64_t tensor_bytes_max_;
  int64_t inline_bytes_left_;
  std::map<std::string, std::shared_ptr<const base::MappedFile>> files_;
};

// How many files a model's tensors may lie in.
inline constexpr int64_t kExternalFilesMax = 1024;

// kInvalidArgument, naming the tensor, when the dims, the type and the data do not agree;
// kUnimplemented for element types that we do not have; kResourceExhausted above a limit.
base::Result<tensor::Tensor> TensorFromProto(const onnx::TensorProto& proto, TensorSource& source);
// The same of a message whose raw data are not in it but in `raw`: copied once, when somebody looks
// at them, if the source owns them, else now.
base::Result<tensor::Tensor> TensorFromParts(onnx::TensorProto& proto, std::string_view raw,
                                             TensorSource& source);
// The same from a serialised TensorProto, as in the .pb files of ONNX's tests.
base::Result<tensor::Tensor> ParseTensorProto(std::string_view bytes);

}  // namespace sluice::graph
