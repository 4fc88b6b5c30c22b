// request_bench FOLDER MODEL.onnx: runs requests through the serving engine on one thread, without
// a server, as bench/compare tells it over standard input: what a client's padding costs shows
// here.
//
//   bind NAME FILE DIM...   the raw bytes of FILE are input NAME of this shape
//   run N                   N requests -> "seconds MEAN", processor time
//   output FILE             writes the first output's raw bytes -> "ok"
//
// An error answers "error TEXT". The process ends with its input.
#include <time.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "infer/direct_runner.h"
#include "infer/served_model.h"

namespace {

using sluice::base::InvalidArgument;
using sluice::base::Result;
using sluice::base::Status;
using sluice::tensor::NamedTensor;

double ProcessorSeconds() {
  timespec t = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Bench {
  std::unique_ptr<sluice::infer::DirectRunner> runner;
  std::vector<NamedTensor> inputs;
  std::vector<NamedTensor> outputs;
};

Status Bind(Bench& bench, std::istringstream& words) {
  std::string name, file;
  words >> name >> file;
  std::vector<int64_t> dims;
  for (int64_t dim = 0; words >> dim;) dims.push_back(dim);
  for (const auto& input : bench.runner->served().graph->inputs()) {
    if (input.name != name) continue;
    const auto shape = TRY(sluice::tensor::Shape::FromDims(dims));
    auto tensor = TRY(sluice::tensor::Tensor::Allocate(input.dtype, shape, int64_t{1} << 32));
    std::ifstream in(file, std::ios::binary);
    in.read(reinterpret_cast<char*>(tensor.buffer.mutable_data()), tensor.buffer.bytes());
    if (in.gcount() != tensor.buffer.bytes()) return InvalidArgument(file + " is too short");
    std::erase_if(bench.inputs, [&](const NamedTensor& own) { return own.name == name; });
    bench.inputs.push_back({name, std::move(tensor)});
    return sluice::base::Ok();
  }
  return InvalidArgument("the model has no input " + name);
}

Result<double> Run(Bench& bench, int repeats) {
  const double start = ProcessorSeconds();
  for (int i = 0; i < repeats; ++i) {
    auto request = std::make_unique<sluice::engine::Request>();
    request->inputs = bench.inputs;
    bench.outputs = TRY(bench.runner->Run(std::move(request)));
  }
  return (ProcessorSeconds() - start) / repeats;
}

Result<std::string> Obey(Bench& bench, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "bind") {
    TRY(Bind(bench, words));
    return std::string("ok");
  }
  if (verb == "run") {
    int repeats = 0;
    words >> repeats;
    if (repeats < 1) return InvalidArgument("run expects a count");
    char text[64];
    std::snprintf(text, sizeof text, "seconds %.9g", TRY(Run(bench, repeats)));
    return std::string(text);
  }
  if (verb == "output") {
    std::string file;
    words >> file;
    if (bench.outputs.empty()) return InvalidArgument("nothing has run");
    const auto view = bench.outputs[0].tensor.view();
    std::ofstream(file, std::ios::binary).write(static_cast<const char*>(view.data), view.bytes());
    return std::string("ok");
  }
  return InvalidArgument("no such verb: " + verb);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: request_bench FOLDER MODEL.onnx\n");
    return 2;
  }
  sluice::infer::Options options;
  options.model = options.model_file = argv[2];
  auto served = sluice::infer::LoadServedModel(argv[1], options);
  if (!served.ok()) {
    std::cout << "error " << served.error().message << std::endl;
    return 1;
  }
  Bench bench;
  bench.runner = std::make_unique<sluice::infer::DirectRunner>(
      *std::move(served), sluice::infer::DirectRunner::Options{});
  std::cout << "ok" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Obey(bench, line);
    std::cout << (answer.ok() ? *answer : "error " + answer.error().message) << std::endl;
  }
  return 0;
}
