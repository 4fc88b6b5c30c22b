// The extension module sluice._native: models and reports. The public face is python/sluice.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/weight_choice.h"
#include "infer/direct_runner.h"
#include "kernels/target.h"
#include "native/arrays.h"
#include "report/html.h"
#include "report/json.h"
#include "report/text.h"

namespace sluice::python {
namespace {

namespace py = pybind11;

// Raises the exception of sluice.errors that stands for the error's code, with its message.
[[noreturn]] void Raise(const base::Error& error) {
  const py::object kinds = py::module_::import("sluice.errors").attr("BY_CODE");
  const py::object kind = kinds[py::str(base::CodeName(error.code))];
  PyErr_SetObject(kind.ptr(), py::str(error.message).ptr());
  throw py::error_already_set();
}

template <class T>
T Unwrap(base::Result<T> result) {
  if (!result.ok()) Raise(result.error());
  return std::move(result).value();
}

struct LoadArgs {
  std::string path;
  std::string weights;   // empty: what stands beside the file
  std::string batching;  // "prove", "declare" or "never"
  int threads = 1;
  int64_t text_tokens_max = 0;
};

base::Result<std::shared_ptr<const infer::ServedModel>> LoadModel(const LoadArgs& args) {
  std::string folder = args.path;
  infer::Options options;
  struct stat info {};
  if (stat(args.path.c_str(), &info) != 0) {
    return base::NotFound("'" + args.path + "': no such file or folder");
  }
  if (!S_ISDIR(info.st_mode)) {
    const size_t slash = args.path.rfind('/');
    folder = slash == std::string::npos ? "." : args.path.substr(0, std::max<size_t>(slash, 1));
    options.model_file = slash == std::string::npos ? args.path : args.path.substr(slash + 1);
  }
  options.model = args.path;
  options.text_tokens_max = args.text_tokens_max;
  if (args.batching == "declare") {
    options.batch_rows_max = infer::Options::kRowsDefault;
  } else if (args.batching == "never") {
    options.batch_rows_max = 0;
  } else if (args.batching != "prove") {
    return base::InvalidArgument("batching is '" + args.batching +
                                 "', expected 'prove', 'declare' or 'never'");
  }
  if (!args.weights.empty()) {
    graph::WeightChoice choice;
    choice.form = TRY(graph::ParseWeightForm(args.weights));
    options.compile.weights = std::move(choice);
  }
  return infer::LoadServedModel(folder, options);
}

report::OpenSizes SizesOf(int64_t batch, int64_t length, double mean_length,
                          const std::map<std::string, int64_t>& dims) {
  report::OpenSizes sizes;
  sizes.batch = batch;
  sizes.length = length;
  sizes.mean_length = mean_length;
  for (const auto& [name, size] : dims) sizes.dims.push_back(name + "=" + std::to_string(size));
  return sizes;
}

// A report in its three forms.
struct Told {
  std::string json;
  std::string text;
  std::string html;
};

class Model {
 public:
  explicit Model(const LoadArgs& args)
      : path_(args.path), runner_(Load(args), {.workers = std::max(0, args.threads - 1)}) {}

  // [(name, value)] in the model's order.
  py::list Run(const py::dict& inputs, const std::vector<std::string>& outputs) {
    auto request = std::make_unique<engine::Request>();
    request->outputs = outputs;
    for (const auto& [key, value] : inputs) {
      const auto name = key.cast<std::string>();
      request->inputs.push_back({name, Unwrap(FromPython(name, value, Declared(name)))});
    }
    base::Result<std::vector<tensor::NamedTensor>> answer = [&] {
      const py::gil_scoped_release free;
      return runner_.Run(std::move(request));
    }();
    const std::vector<tensor::NamedTensor> tensors = Unwrap(std::move(answer));
    py::list result;
    for (const tensor::NamedTensor& named : tensors) {
      py::object value = ToPython(named.tensor);
      // The interpreter may hand on the caller's own memory or a constant of the model.
      if (graph().interpreted() && py::isinstance<py::array>(value)) value = value.attr("copy")();
      result.append(py::make_tuple(named.name, value));
    }
    return result;
  }

  py::list Interface(const std::vector<graph::TensorInterface>& tensors) const {
    py::list list;
    for (const graph::TensorInterface& tensor : tensors) {
      py::list shape;
      for (size_t axis = 0; axis < tensor.dims.size(); ++axis) {
        if (tensor.dims[axis] >= 0) {
          shape.append(tensor.dims[axis]);
        } else if (tensor.symbols[axis].empty()) {
          shape.append(py::none());
        } else {
          shape.append(tensor.symbols[axis]);
        }
      }
      list.append(py::make_tuple(tensor.name, std::string(tensor::DTypeName(tensor.dtype)),
                                 tensor.rank_known ? py::object(py::tuple(shape)) : py::none()));
    }
    return list;
  }

  // runs: 0 predicts. Without the GIL.
  base::Result<Told> Tell(const report::OpenSizes& sizes, int64_t runs) const {
    const report::Opened opened = TRY(report::OpenForLooking(runner_.served().graph, sizes));
    const report::Roofs roofs = report::MeasureRoofs();
    report::Timing timing;
    report::ReportArgs args;
    args.model = path_;
    args.opened = &opened;
    args.roofs = &roofs;
    if (runs > 0) {
      timing = TRY(report::Measure(opened, runs));
      args.timing = &timing;
    }
    const report::Report report = report::MakeReport(args);
    return Told{report::ToJson(report, nullptr),
                report::ToText(report, nullptr, {.colour = false, .all_steps = false}),
                report::ToHtml(report, nullptr)};
  }

  const graph::Model& graph() const { return *runner_.served().graph; }
  bool takes_text() const { return runner_.served().tokenizer != nullptr; }

 private:
  static std::shared_ptr<const infer::ServedModel> Load(const LoadArgs& args) {
    base::Status supported = kernels::CheckCpu();
    if (!supported.ok()) Raise(supported.error());
    base::Result<std::shared_ptr<const infer::ServedModel>> loaded = [&] {
      const py::gil_scoped_release free;
      return LoadModel(args);
    }();
    return Unwrap(std::move(loaded));
  }

  // Null: strings. What the model does not have is refused with its name by Prepare.
  const graph::TensorInterface* Declared(const std::string& name) const {
    if (takes_text() && (name == "text" || name == "text_pair")) return nullptr;
    for (const graph::TensorInterface& input : graph().inputs()) {
      if (input.name == name) return &input;
    }
    static const graph::TensorInterface unknown;
    return &unknown;
  }

  const std::string path_;
  infer::DirectRunner runner_;
};

void DefineModel(py::module_& module) {
  py::class_<Told>(module, "Told")
      .def_readonly("json", &Told::json)
      .def_readonly("text", &Told::text)
      .def_readonly("html", &Told::html);
  py::class_<Model>(module, "Model")
      .def(py::init([](const std::string& path, const std::string& weights,
                       const std::string& batching, int threads, int64_t text_tokens_max) {
             return std::make_unique<Model>(
                 LoadArgs{path, weights, batching, threads, text_tokens_max});
           }),
           py::arg("path"), py::arg("weights"), py::arg("batching"), py::arg("threads"),
           py::arg("text_tokens_max"))
      .def("run", &Model::Run, py::arg("inputs"), py::arg("outputs"))
      .def("inputs", [](const Model& self) { return self.Interface(self.graph().inputs()); })
      .def("outputs", [](const Model& self) { return self.Interface(self.graph().outputs()); })
      .def("takes_text", &Model::takes_text)
      .def("joined", [](const Model& self) { return self.graph().batchability().joinable; })
      .def("batching", [](const Model& self) { return self.graph().batchability().reason; })
      .def("weights_bytes", [](const Model& self) { return self.graph().weights_bytes(); })
      .def("producer", [](const Model& self) { return self.graph().producer(); })
      .def("opset", [](const Model& self) { return self.graph().opset(); })
      .def(
          "tell",
          [](const Model& self, int64_t batch, int64_t length,
             const std::map<std::string, int64_t>& dims, double mean_length, int64_t runs) {
            base::Result<Told> told = [&] {
              const py::gil_scoped_release free;
              return self.Tell(SizesOf(batch, length, mean_length, dims), runs);
            }();
            return Unwrap(std::move(told));
          },
          py::arg("batch"), py::arg("length"), py::arg("dims"), py::arg("mean_length"),
          py::arg("runs"));
}

}  // namespace

void DefineModule(py::module_& module) {
  module.attr("version") = SLUICE_VERSION;
  DefineTensor(module);
  DefineModel(module);
}

}  // namespace sluice::python

#ifdef SLUICE_PYTHON_HOST
// The interpreter of the tests, with the module built in: the static rooms of the release build are
// not compiled as shared code needs them, and need not be compiled again for this.
#include <pybind11/embed.h>

PYBIND11_EMBEDDED_MODULE(_sluice_native, module) {
  sluice::python::DefineModule(module);
}

int main(int argc, char** argv) {
  return Py_BytesMain(argc, argv);
}
#else
PYBIND11_MODULE(_native, module) {
  sluice::python::DefineModule(module);
}
#endif
