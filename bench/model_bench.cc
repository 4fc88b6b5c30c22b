// model_bench MODEL.onnx [WEIGHTS]: runs a model on one thread as bench/compare tells it over
// standard input, so that peers and this process take turns. Times are taken here; no binding is
// counted.
//
//   bind NAME FILE DIM...   the raw bytes of FILE are input NAME of this shape; if FILE holds
//   several
//                           of them, runs take them in turn
//   run N                   N runs -> "seconds MEAN", processor time
//   output FILE             writes the first output's raw bytes -> "ok"
//   roof                    -> "gflops X": f32 multiply-adds of this core right after the last run
//   dots                    -> the same of the dot products that WEIGHTS run on
//
// An error answers "error TEXT". The process ends with its input.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "graph/executor.h"
#include "graph/model.h"
#include "kernels/roof.h"
#include "tensor/arena.h"

namespace {

double ProcessorSeconds() {
  timespec t = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// A loaded model, the caller's inputs and, once they are all bound, the plan for their shapes.
struct Bench {
  std::shared_ptr<const sluice::graph::Model> model;
  sluice::kernels::WeightForm form = sluice::kernels::WeightForm::kF32;
  std::vector<sluice::tensor::Buffer> inputs;
  std::vector<int64_t> input_bytes;  // of one turn
  std::vector<sluice::tensor::Shape> shapes;
  int64_t turn = 0;
  std::shared_ptr<const sluice::graph::Plan> plan;
  std::vector<sluice::tensor::Tensor> outputs;
  std::vector<void*> output_data;
  sluice::tensor::Arena arena;
  double roof = 0;  // right after the last run
  double dots_roof = 0;
};

sluice::base::Status MakePlan(Bench& bench) {
  bench.plan = TRY(bench.model->PlanFor(bench.shapes));
  bench.outputs.clear();
  bench.output_data.clear();
  for (size_t i = 0; i < bench.plan->output_shapes.size(); ++i) {
    bench.outputs.push_back(TRY(sluice::tensor::Tensor::Allocate(
        bench.model->outputs()[i].dtype, bench.plan->output_shapes[i], int64_t{1} << 32)));
    bench.output_data.push_back(bench.outputs.back().buffer.mutable_data());
  }
  bench.arena = TRY(sluice::tensor::Arena::Create(bench.plan->memory_bytes));
  return sluice::base::Ok();
}

using sluice::base::InvalidArgument;
using sluice::base::Result;
using sluice::base::Status;

Status Bind(Bench& bench, const std::string& name, const std::string& file,
            const std::vector<int64_t>& dims) {
  const auto& inputs = bench.model->inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].name != name) continue;
    bench.shapes[i] = TRY(sluice::tensor::Shape::FromDims(dims));
    const int64_t bytes =
        TRY(sluice::tensor::CheckedBytes(bench.shapes[i], DTypeSize(inputs[i].dtype)));
    std::ifstream in(file, std::ios::binary | std::ios::ate);
    const auto size = static_cast<int64_t>(in.tellg());
    if (!in || size < bytes || (bytes > 0 && size % bytes != 0))
      return InvalidArgument(file + " is no multiple of its shape");
    bench.inputs[i] = sluice::tensor::Buffer::Allocate(size);
    bench.input_bytes[i] = bytes;
    in.seekg(0);
    in.read(reinterpret_cast<char*>(bench.inputs[i].mutable_data()), size);
    bench.plan = nullptr;
    return sluice::base::Ok();
  }
  return InvalidArgument("the model has no input " + name);
}

// Mean seconds of one run. Processor time: what others take of a shared machine is not the model's.
Result<double> Run(Bench& bench, int repeats) {
  if (bench.plan == nullptr) TRY(MakePlan(bench));
  std::vector<const void*> inputs(bench.inputs.size());
  const auto take_turn = [&] {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t turns = std::max<int64_t>(
          1, bench.inputs[i].bytes() / std::max<int64_t>(1, bench.input_bytes[i]));
      inputs[i] = bench.inputs[i].data() + bench.turn % turns * bench.input_bytes[i];
    }
    ++bench.turn;
  };
  sluice::graph::ExecuteArgs args;
  args.inputs = inputs;
  args.outputs = bench.output_data;
  args.memory = bench.arena.data();
  args.memory_bytes = bench.arena.capacity();
  const double start = ProcessorSeconds();
  for (int i = 0; i < repeats; ++i) {
    take_turn();
    TRY(sluice::graph::Execute(*bench.plan, args));
  }
  const double seconds = (ProcessorSeconds() - start) / repeats;
  // At once: the clock falls with the power that products draw, and rises again within
  // milliseconds.
  bench.roof = sluice::kernels::MultiplyAddRoof();
  if (bench.form != sluice::kernels::WeightForm::kF32) {
    bench.dots_roof = sluice::kernels::LowPathRoof(sluice::kernels::PathFor(bench.form));
  }
  return seconds;
}

Result<std::string> Obey(Bench& bench, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  char text[64];
  if (verb == "bind") {
    std::string name, file;
    words >> name >> file;
    std::vector<int64_t> dims;
    for (int64_t dim = 0; words >> dim;) dims.push_back(dim);
    TRY(Bind(bench, name, file, dims));
    return std::string("ok");
  }
  if (verb == "run") {
    int repeats = 0;
    words >> repeats;
    if (repeats < 1) return InvalidArgument("run expects a count");
    std::snprintf(text, sizeof text, "seconds %.9g", TRY(Run(bench, repeats)));
    return std::string(text);
  }
  if (verb == "output") {
    std::string file;
    words >> file;
    if (bench.outputs.empty()) return InvalidArgument("nothing has run");
    const auto view = bench.outputs[0].view();
    std::ofstream(file, std::ios::binary).write(static_cast<const char*>(view.data), view.bytes());
    return std::string("ok");
  }
  if (verb == "roof") {
    std::snprintf(text, sizeof text, "gflops %.4g", bench.roof);
    return std::string(text);
  }
  if (verb == "dots") {
    if (bench.form == sluice::kernels::WeightForm::kF32) return InvalidArgument("weights are f32");
    std::snprintf(text, sizeof text, "gflops %.4g", bench.dots_roof);
    return std::string(text);
  }
  return InvalidArgument("no such verb: " + verb);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: model_bench MODEL.onnx [WEIGHTS]\n");
    return 2;
  }
  sluice::graph::CompileOptions options;
  if (argc == 3) {
    const auto form = sluice::graph::ParseWeightForm(argv[2]);
    if (!form.ok()) {
      std::cout << "error " << form.error().message << std::endl;
      return 1;
    }
    options.weights.emplace();
    options.weights->form = *form;
  }
  auto model = sluice::graph::Model::Load(argv[1], options);
  if (!model.ok()) {
    std::cout << "error " << model.error().message << std::endl;
    return 1;
  }
  Bench bench;
  bench.model = *std::move(model);
  if (options.weights.has_value()) bench.form = options.weights->form;
  bench.inputs.resize(bench.model->inputs().size());
  bench.input_bytes.resize(bench.inputs.size());
  bench.shapes.resize(bench.inputs.size());
  std::cout << "ok" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Obey(bench, line);
    std::cout << (answer.ok() ? *answer : "error " + answer.error().message) << std::endl;
  }
  return 0;
}
