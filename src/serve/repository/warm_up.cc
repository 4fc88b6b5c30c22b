#include "serve/repository/warm_up.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <random>

#include "base/files.h"
#include "serve/oip/tensors.h"

namespace sluice::serve {

using tensor::DType;
using tensor::Tensor;

namespace {

// A model that takes longer to answer one row is not ready in any useful sense.
constexpr base::Duration kPatience = base::Duration::Seconds(300);
constexpr uint64_t kSeed = 20260101;
// Extents tried, in this order, for dimensions that vary: some models refuse the smallest.
constexpr int64_t kExtents[] = {1, 2, 8, 32};

struct PromiseSink : engine::ReplySink {
  void Post(engine::Reply reply) override {
    if (reply.terminal) answer.set_value(std::move(reply.status));
  }
  std::promise<base::Status> answer;
};

void FillRandom(Tensor& tensor, std::mt19937_64& random) {
  if (tensor.dtype == DType::kF32) {
    for (float& x : tensor.mutable_view().span<float>())
      x = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
  } else if (tensor.dtype == DType::kF64) {
    for (double& x : tensor.mutable_view().span<double>())
      x = static_cast<double>(random() % 2048) / 1024.0 - 1.0;
  } else {
    // Small enough to be an index or a token of any sensible model: only the lowest bit of each
    // element.
    auto bytes = tensor.mutable_view();
    int64_t size = tensor::DTypeSize(tensor.dtype);
    auto* data = static_cast<unsigned char*>(bytes.data);
    for (int64_t i = 0; i < bytes.shape.elements(); ++i)
      data[i * size] = static_cast<unsigned char>(random() & 1);
  }
}

base::Result<Tensor> Make(const WarmupRequest::Input& input, const std::vector<int64_t>& dims,
                          const std::string& name, const std::string& model_folder,
                          std::mt19937_64& random) {
  const RequestLimits limits;
  tensor::Shape shape = TRY(ShapeOnWire(dims, input.dtype, name, limits));
  if (!input.file.empty()) {
    base::FileHandle folder = TRY(base::OpenFolder(model_folder + "/warmup"));
    base::FileHandle file = TRY(base::OpenBeneath(folder, input.file));
    std::string bytes = TRY(base::ReadFile(file, input.file, limits.tensor_bytes_max));
    return TensorFromRaw(input.dtype, shape, bytes, {}, name);
  }
  if (input.dtype == DType::kBytes) {
    return Tensor::FromStrings(
        shape, std::vector<std::string>(static_cast<size_t>(shape.elements()), "warm up"));
  }
  Tensor tensor = TRY(Tensor::Allocate(input.dtype, shape, limits.tensor_bytes_max));
  std::memset(tensor.buffer.mutable_data(), 0, static_cast<size_t>(tensor.view().bytes()));
  if (input.random) FillRandom(tensor, random);
  return tensor;
}

base::Status Ask(const std::shared_ptr<const engine::EngineVersion>& version,
                 std::vector<tensor::NamedTensor> inputs, engine::Parameters parameters = {}) {
  auto request = std::make_unique<engine::Request>();
  base::Time now = base::SystemClock::Get().Now();
  engine::Call::Options options;
  options.deadline = now + kPatience;
  request->call = std::make_shared<engine::Call>(std::move(options));
  request->id = "warm-up";
  request->arrival = now;
  request->inputs = std::move(inputs);
  request->parameters = std::move(parameters);
  TRY(version->engine().Prepare(*request));
  auto sink = std::make_shared<PromiseSink>();
  std::future<base::Status> answer = sink->answer.get_future();
  request->sink = std::move(sink);
  engine::Submit(version, std::move(request));
  return answer.get();
}

base::Status AskConfigured(const std::shared_ptr<const engine::EngineVersion>& version,
                           const WarmupRequest& warmup, const std::string& model_folder) {
  std::mt19937_64 random(kSeed);
  for (int64_t i = 0; i < warmup.count; ++i) {
    std::vector<tensor::NamedTensor> inputs;
    for (const auto& [name, input] : warmup.inputs) {
      std::vector<int64_t> dims = input.dims;
      if (version->description().batch_rows_max > 0) {
        dims.insert(dims.begin(), std::max<int64_t>(1, warmup.batch_rows));
      }
      Tensor tensor = TRY(Make(input, dims, name, model_folder, random));
      inputs.push_back({name, std::move(tensor)});
    }
    TRY(Ask(version, std::move(inputs)));
  }
  return base::Ok();
}

base::Status AskDerived(const std::shared_ptr<const engine::EngineVersion>& version,
                        int64_t extent) {
  std::mt19937_64 random(kSeed);
  std::vector<tensor::NamedTensor> inputs;
  const std::vector<engine::TensorSpec>& specs = version->description().inputs;
  // Where a model takes one of several inputs, none of them is required: the first one will do.
  const bool any_required =
      std::any_of(specs.begin(), specs.end(), [](const auto& spec) { return !spec.optional; });
  for (const engine::TensorSpec& spec : specs) {
    if (spec.optional && (any_required || &spec != &specs.front())) continue;
    std::vector<int64_t> dims = spec.dims;
    for (size_t i = 0; i < dims.size(); ++i) {
      bool is_batch = i == 0 && version->description().batch_rows_max > 0;
      if (dims[i] < 0) dims[i] = is_batch ? 1 : extent;
    }
    WarmupRequest::Input input;
    input.dtype = spec.dtype;
    Tensor tensor = TRY(Make(input, dims, spec.name, "", random));
    inputs.push_back({spec.name, std::move(tensor)});
  }
  // One token of a language model has touched every weight.
  engine::Parameters parameters;
  const std::vector<std::string>& tasks = version->description().tasks;
  if (!tasks.empty() && tasks[0] == "generate") {
    parameters.emplace_back("max_tokens", int64_t{1});
  }
  return Ask(version, std::move(inputs), std::move(parameters));
}

}  // namespace

base::Status WarmUp(const std::shared_ptr<const engine::EngineVersion>& version,
                    const ModelSettings& settings, const std::string& model_folder) {
  for (const WarmupRequest& warmup : settings.warmups) {
    base::Status asked = AskConfigured(version, warmup, model_folder);
    if (!asked.ok()) {
      return base::Error{asked.error().code,
                         "warm-up '" + warmup.name + "': " + asked.error().message};
    }
  }
  if (!settings.warmups.empty()) return base::Ok();
  base::Status first;
  for (int64_t extent : kExtents) {
    base::Status asked = AskDerived(version, extent);
    if (asked.ok()) return base::Ok();
    if (first.ok()) first = std::move(asked);
  }
  return base::Error{first.error().code,
                     "the synthetic request after loading failed: " + first.error().message};
}

}  // namespace sluice::serve
