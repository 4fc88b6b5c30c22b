#include "report/opened_model.h"

#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <map>
#include <random>
#include <utility>

namespace sluice::report {
namespace {

constexpr int64_t kInputBytesMax = int64_t{1} << 32;

base::Result<std::map<std::string, int64_t>> NamedSizes(const std::vector<std::string>& dims) {
  std::map<std::string, int64_t> sizes;
  for (const std::string& dim : dims) {
    const size_t equals = dim.find('=');
    int64_t size = 0;
    const char* const end = dim.data() + dim.size();
    if (equals == std::string::npos ||
        std::from_chars(dim.data() + equals + 1, end, size).ptr != end || size < 0) {
      return base::InvalidArgument("--dim expects NAME=N, got '" + dim + "'");
    }
    sizes[dim.substr(0, equals)] = size;
  }
  return sizes;
}

bool IsFolder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

base::Result<Opened> OpenForLooking(const std::string& path, const OpenSizes& sizes) {
  return OpenForLooking(TRY(graph::Model::Load(IsFolder(path) ? path + "/model.onnx" : path, {})),
                        sizes);
}

base::Result<Opened> OpenForLooking(std::shared_ptr<const graph::Model> model,
                                    const OpenSizes& sizes) {
  const std::map<std::string, int64_t> named = TRY(NamedSizes(sizes.dims));
  Opened open;
  open.model = std::move(model);
  open.sizes = sizes;
  for (const graph::TensorInterface& input : open.model->inputs()) {
    if (!input.rank_known) {
      return base::InvalidArgument("the rank of input '" + input.name +
                                   "' is not known: there is nothing to plan");
    }
    std::vector<int64_t> dims = input.dims;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      if (dims[axis] >= 0) continue;
      const auto found = named.find(input.symbols[axis]);
      dims[axis] = found != named.end() ? found->second : axis == 0 ? sizes.batch : sizes.length;
    }
    open.shapes.push_back(TRY(tensor::Shape::FromDims(dims)));
  }
  open.plan = TRY(open.model->PlanFor(open.shapes));
  return open;
}

base::Result<std::vector<tensor::Tensor>> SyntheticInputs(const Opened& open) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<tensor::Tensor> tensors;
  for (size_t i = 0; i < open.shapes.size(); ++i) {
    const graph::TensorInterface& input = open.model->inputs()[i];
    if (input.dtype == tensor::DType::kBytes) {
      tensors.push_back(tensor::Tensor::FromStrings(
          open.shapes[i],
          std::vector<std::string>(static_cast<size_t>(open.shapes[i].elements()), "text")));
      continue;
    }
    tensor::Tensor made =
        TRY(tensor::Tensor::Allocate(input.dtype, open.shapes[i], kInputBytesMax));
    std::memset(made.buffer.mutable_data(), 0, static_cast<size_t>(made.buffer.bytes()));
    if (input.dtype == tensor::DType::kF32) {
      for (float& x : made.mutable_view().span<float>()) x = normal(random);
    } else if (input.name.find("mask") != std::string::npos) {
      if (input.dtype == tensor::DType::kI64) {
        for (int64_t& x : made.mutable_view().span<int64_t>()) x = 1;
      } else if (input.dtype == tensor::DType::kI32) {
        for (int32_t& x : made.mutable_view().span<int32_t>()) x = 1;
      } else if (input.dtype == tensor::DType::kBool) {
        std::memset(made.buffer.mutable_data(), 1, static_cast<size_t>(made.buffer.bytes()));
      }
    }
    tensors.push_back(std::move(made));
  }
  return tensors;
}

}  // namespace sluice::report
