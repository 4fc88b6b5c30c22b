#include "report/opened_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
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

// Ops whose output holds the elements of input 0 and no others.
bool KeepsElements(const graph::Node& node) {
  for (const char* const op : {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Cast",
                               "Slice", "Split", "Identity", "Expand", "Concat"}) {
    if (node.Is(op)) return true;
  }
  return false;
}

int64_t LargestElement(const tensor::Tensor& tensor) {
  int64_t largest = 0;
  if (tensor.dtype == tensor::DType::kI64) {
    for (const int64_t x : tensor.view().span<int64_t>()) largest = std::max(largest, x);
  } else if (tensor.dtype == tensor::DType::kI32) {
    for (const int32_t x : tensor.view().span<int32_t>()) largest = std::max<int64_t>(largest, x);
  }
  return largest;
}

// One an input: the rows of the smallest table that its elements index, less what is added on the
// way there; 0 where no table is found.
std::vector<int64_t> IndexLimits(const graph::Plan& plan) {
  std::vector<int64_t> limits;
  if (plan.graph == nullptr) return limits;
  const graph::Graph& graph = *plan.graph;
  constexpr int64_t kNone = INT64_MAX;
  std::vector<int64_t> limit(graph.value_id_limit(), kNone);
  const auto lower = [&](const graph::Value* value, int64_t to) {
    int64_t& at = limit[static_cast<size_t>(value->id)];
    at = std::min(at, std::max<int64_t>(to, 1));
  };
  for (const graph::Node* node = graph.last(); node != nullptr; node = node->previous) {
    const graph::Value* table = nullptr;
    const graph::Value* added = nullptr;
    for (const graph::Value* value : node->inputs) {
      if (value == nullptr || !value->is_constant() || !value->shape.has_value()) continue;
      if (tensor::IsFloat(value->dtype) && !value->shape->empty()) table = value;
      if (node->Is("Add") && value->constant->buffer) added = value;
    }
    const std::string_view op = node->op_name();
    const bool looks_up = table != nullptr && (op.find("Gather") != std::string_view::npos ||
                                               op.find("Bag") != std::string_view::npos);
    int64_t out = kNone;
    for (const graph::Value* value : node->outputs) {
      if (value != nullptr) out = std::min(out, limit[static_cast<size_t>(value->id)]);
    }
    if (node->Is("FusedLookups")) {
      for (size_t i = 0; i + 1 < node->inputs.size(); i += 4) {
        const graph::Value* ids = node->input(i + 1);
        if (node->input(i) == nullptr || ids == nullptr || ids->is_constant()) continue;
        const graph::Dim& rows = node->input(i)->shape->front();
        if (rows.is_constant()) lower(ids, rows.constant());
      }
      continue;
    }
    for (const graph::Value* value : node->inputs) {
      if (value == nullptr || value->is_constant()) continue;
      if (looks_up && !tensor::IsFloat(value->dtype)) {
        const graph::Dim& rows = table->shape->front();
        if (rows.is_constant()) lower(value, rows.constant());
      } else if (out != kNone && KeepsElements(*node)) {
        lower(value, out);
      } else if (out != kNone && added != nullptr) {
        lower(value, out - LargestElement(*added->constant));
      }
    }
  }
  for (const graph::Value* input : graph.inputs()) {
    const int64_t found = limit[static_cast<size_t>(input->id)];
    limits.push_back(found == kNone ? 0 : found);
  }
  return limits;
}

template <class T, class Draw>
void Fill(tensor::Tensor& tensor, Draw draw) {
  for (T& x : tensor.mutable_view().span<T>()) x = static_cast<T>(draw());
}

bool IsFolder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Lengths of 1 to `longest` tokens with this mean: quantiles of a power of a uniform variate, as
// texts have many short ones and few long ones.
std::vector<int64_t> SpreadLengths(int64_t count, int64_t longest, double mean) {
  std::vector<int64_t> lengths(static_cast<size_t>(count), longest);
  const auto top = static_cast<double>(longest);
  if (mean <= 0 || mean >= top) return lengths;
  mean = std::max(mean, 1.0);
  const double power = (top - 1) / std::max(mean - 1, 1e-3) - 1;
  int64_t missing = std::llround(mean * static_cast<double>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    int64_t& length = lengths[static_cast<size_t>(i)];
    length = 1 + std::llround((top - 1) * std::pow(at, power));
    missing -= length;
  }
  // What rounding left, from the longest on.
  for (size_t i = lengths.size(); missing != 0;) {
    i = (i > 0 ? i : lengths.size()) - 1;
    const int64_t step = missing > 0 ? 1 : -1;
    if (lengths[i] + step < 1 || lengths[i] + step > longest) continue;
    lengths[i] += step;
    missing -= step;
  }
  return lengths;
}

// The lengths where requests of these shapes run as packed rows, else nothing.
std::vector<int64_t> PackedLengths(const Opened& open) {
  const graph::RaggedForm* const form = open.model->ragged();
  if (form == nullptr) return {};
  const tensor::Shape& mask = open.shapes[static_cast<size_t>(form->mask_input)];
  const int64_t longest = mask[1];
  if (mask[0] < 1 || longest < 1 || longest > form->length_max) return {};
  for (const graph::RaggedForm::Input& input : form->inputs) {
    if (input.index < 0) continue;
    const tensor::Shape& shape = open.shapes[static_cast<size_t>(input.index)];
    const bool tokens = input.feed == graph::RaggedForm::Feed::kTokens;
    if (shape[0] != mask[0] || (tokens && shape[1] != longest)) return {};
  }
  return SpreadLengths(mask[0], longest, open.sizes.mean_length);
}

// Where each sequence begins, or the place of each row within its own.
void FillOffsets(const std::vector<int64_t>& lengths, bool starts, tensor::Tensor& tensor) {
  int64_t at = 0, i = 0;
  for (const int64_t length : lengths) {
    if (starts) tensor.mutable_view().as<int32_t>()[i++] = static_cast<int32_t>(at);
    for (int64_t k = 0; k < length; ++k, ++at) {
      if (!starts) tensor.mutable_view().as<int64_t>()[at] = k;
    }
  }
  if (starts) tensor.mutable_view().as<int32_t>()[i] = static_cast<int32_t>(at);
}

}  // namespace

int ModelInput(const Opened& opened, size_t at) {
  return opened.lengths.empty() ? static_cast<int>(at) : opened.model->ragged()->inputs[at].index;
}

base::Result<Opened> OpenForLooking(const std::string& path, const OpenSizes& sizes,
                                    const graph::CompileOptions& compile) {
  return OpenForLooking(
      TRY(graph::Model::Load(IsFolder(path) ? path + "/model.onnx" : path, compile)), sizes);
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
  open.lengths = PackedLengths(open);
  if (open.lengths.empty()) return open;
  const int64_t rows = std::accumulate(open.lengths.begin(), open.lengths.end(), int64_t{0});
  open.plan = TRY(open.model->NewRaggedPlan(rows, static_cast<int64_t>(open.lengths.size())));
  return open;
}

base::Result<std::vector<tensor::Tensor>> SyntheticInputs(const Opened& open) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  const std::vector<int64_t> limits = IndexLimits(*open.plan);
  std::vector<tensor::Tensor> tensors;
  const std::vector<tensor::Shape>& shapes =
      open.lengths.empty() ? open.shapes : open.plan->input_shapes;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const int index = ModelInput(open, i);
    if (index < 0) {
      const bool starts = open.model->ragged()->inputs[i].feed == graph::RaggedForm::Feed::kStarts;
      const auto dtype = starts ? tensor::DType::kI32 : tensor::DType::kI64;
      tensor::Tensor made = TRY(tensor::Tensor::Allocate(dtype, shapes[i], kInputBytesMax));
      FillOffsets(open.lengths, starts, made);
      tensors.push_back(std::move(made));
      continue;
    }
    const graph::TensorInterface& input = open.model->inputs()[static_cast<size_t>(index)];
    if (input.dtype == tensor::DType::kBytes) {
      tensors.push_back(tensor::Tensor::FromStrings(
          shapes[i], std::vector<std::string>(static_cast<size_t>(shapes[i].elements()), "text")));
      continue;
    }
    tensor::Tensor made = TRY(tensor::Tensor::Allocate(input.dtype, shapes[i], kInputBytesMax));
    std::memset(made.buffer.mutable_data(), 0, static_cast<size_t>(made.buffer.bytes()));
    if (input.dtype == tensor::DType::kF32) {
      for (float& x : made.mutable_view().span<float>()) x = normal(random);
    } else {
      const bool mask = input.name.find("mask") != std::string::npos;
      const int64_t limit = i < limits.size() ? limits[i] : 0;
      // Row r is drawn about 1 / (r + 1) as often as row 0: the way words and ids are used.
      const auto draw = [&]() -> int64_t {
        if (mask || limit <= 1) return mask ? 1 : 0;
        const double row = std::exp(uniform(random) * std::log(static_cast<double>(limit)));
        return std::clamp<int64_t>(static_cast<int64_t>(row) - 1, 0, limit - 1);
      };
      if (input.dtype == tensor::DType::kI64) Fill<int64_t>(made, draw);
      if (input.dtype == tensor::DType::kI32) Fill<int32_t>(made, draw);
      if (input.dtype == tensor::DType::kBool && mask) Fill<bool>(made, draw);
    }
    tensors.push_back(std::move(made));
  }
  return tensors;
}

}  // namespace sluice::report
