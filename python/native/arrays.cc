#include "native/arrays.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "native/dlpack.h"

namespace sluice::python {
namespace {

namespace py = pybind11;
using tensor::DType;
using tensor::Tensor;

// Kept alive by a tensor that may be let go of on any thread.
std::shared_ptr<const void> Owner(py::object object) {
  return {object.release().ptr(), [](PyObject* held) {
            const py::gil_scoped_acquire gil;
            Py_DECREF(held);
          }};
}

std::optional<DType> TypeOf(char kind, int64_t size, const std::string& name) {
  if (name == "bfloat16") return DType::kBF16;
  switch (kind) {
    case 'f':
      return size == 4   ? std::optional(DType::kF32)
             : size == 8 ? std::optional(DType::kF64)
             : size == 2 ? std::optional(DType::kF16)
                         : std::nullopt;
    case 'i':
      return size == 8   ? std::optional(DType::kI64)
             : size == 4 ? std::optional(DType::kI32)
             : size == 2 ? std::optional(DType::kI16)
             : size == 1 ? std::optional(DType::kI8)
                         : std::nullopt;
    case 'u':
      return size == 8   ? std::optional(DType::kU64)
             : size == 4 ? std::optional(DType::kU32)
             : size == 2 ? std::optional(DType::kU16)
             : size == 1 ? std::optional(DType::kU8)
                         : std::nullopt;
    case 'b':
      return DType::kBool;
    default:
      return std::nullopt;
  }
}

// NumPy's name of a type; null where it has none.
const char* NumpyName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kF16:
      return "float16";
    case DType::kF64:
      return "float64";
    case DType::kI8:
      return "int8";
    case DType::kI16:
      return "int16";
    case DType::kI32:
      return "int32";
    case DType::kI64:
      return "int64";
    case DType::kU8:
      return "uint8";
    case DType::kU16:
      return "uint16";
    case DType::kU32:
      return "uint32";
    case DType::kU64:
      return "uint64";
    case DType::kBool:
      return "bool";
    default:
      return nullptr;
  }
}

base::Result<Tensor> FromArray(const std::string& name, py::array array) {
  const py::dtype type = array.dtype();
  const std::optional<DType> dtype =
      TypeOf(type.kind(), type.itemsize(), py::str(type.attr("name")));
  const std::string order = py::str(type.attr("byteorder"));
  if (!dtype.has_value() || order == ">") {
    return base::InvalidArgument("input '" + name + "' has NumPy dtype " +
                                 std::string(py::str(static_cast<py::object>(type))) +
                                 ", which no model input has");
  }
  if ((array.flags() & py::array::c_style) == 0) {
    array = py::array::ensure(array, py::array::c_style);
  }
  std::vector<int64_t> dims(array.shape(), array.shape() + array.ndim());
  Tensor made;
  made.dtype = *dtype;
  made.shape = TRY(tensor::Shape::FromDims(dims));
  const void* const data = array.data();
  const int64_t bytes = array.nbytes();
  made.buffer = tensor::Buffer::Wrap(Owner(std::move(array)), data, bytes);
  return made;
}

std::optional<DType> TypeOf(DLDataType type) {
  if (type.lanes != 1 || type.bits % 8 != 0) return std::nullopt;
  const char kind = type.code == kDLFloat  ? 'f'
                    : type.code == kDLInt  ? 'i'
                    : type.code == kDLUInt ? 'u'
                    : type.code == kDLBool ? 'b'
                                           : ' ';
  return TypeOf(kind, type.bits / 8, type.code == kDLBfloat && type.bits == 16 ? "bfloat16" : "");
}

bool IsPackedDl(const DLTensor& tensor) {
  int64_t expected = 1;
  for (int axis = tensor.ndim; tensor.strides != nullptr && axis-- > 0;) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

base::Result<Tensor> FromDlpack(const std::string& name, py::handle value) {
  const std::string quoted = "input '" + name + "'";
  py::capsule capsule = value.attr("__dlpack__")();
  if (capsule.name() == nullptr || std::string_view(capsule.name()) != "dltensor") {
    return base::InvalidArgument(quoted + ": __dlpack__ gave no capsule named 'dltensor'");
  }
  auto* const managed = capsule.get_pointer<DLManagedTensor>();
  const DLTensor& from = managed->dl_tensor;
  if (from.device.device_type != kDLCPU) {
    return base::InvalidArgument(quoted + " is on DLPack device type " +
                                 std::to_string(from.device.device_type) +
                                 ", expected host memory (1)");
  }
  const std::optional<DType> dtype = TypeOf(from.dtype);
  if (!dtype.has_value() || from.ndim < 0) {
    return base::InvalidArgument(quoted + " has a DLPack type that no model input has");
  }
  if (!IsPackedDl(from)) {
    return base::InvalidArgument(quoted + " is strided: expected a contiguous tensor");
  }
  Tensor made;
  made.dtype = *dtype;
  made.shape = TRY(tensor::Shape::FromDims({from.shape, static_cast<size_t>(from.ndim)}));
  const int64_t bytes = TRY(tensor::CheckedBytes(made.shape, tensor::DTypeSize(*dtype)));
  // From here on the capsule is spent and the tensor is ours to let go of.
  capsule.set_name("used_dltensor");
  const std::shared_ptr<const void> owner(managed, [](DLManagedTensor* held) {
    const py::gil_scoped_acquire gil;
    if (held->deleter != nullptr) held->deleter(held);
  });
  made.buffer = tensor::Buffer::Wrap(
      owner, static_cast<const std::byte*>(from.data) + from.byte_offset, bytes);
  return made;
}

base::Result<Tensor> FromStrings(const std::string& name, py::handle value) {
  std::vector<std::string> strings;
  std::vector<int64_t> dims;
  const auto add = [&](py::handle each) -> base::Status {
    if (!py::isinstance<py::str>(each) && !py::isinstance<py::bytes>(each)) {
      return base::InvalidArgument("input '" + name + "' takes str or bytes, got " +
                                   std::string(py::str(py::type::of(each).attr("__name__"))));
    }
    strings.push_back(each.cast<std::string>());
    return base::Ok();
  };
  if (py::isinstance<py::str>(value) || py::isinstance<py::bytes>(value)) {
    TRY(add(value));
    dims.push_back(1);
  } else if (py::isinstance<py::array>(value)) {
    const auto array = py::reinterpret_borrow<py::array>(value);
    dims.assign(array.shape(), array.shape() + array.ndim());
    const py::list elements = array.attr("ravel")().attr("tolist")();
    for (const py::handle each : elements) TRY(add(each));
  } else if (py::isinstance<py::sequence>(value)) {
    for (const py::handle each : py::reinterpret_borrow<py::sequence>(value)) TRY(add(each));
    dims.push_back(static_cast<int64_t>(strings.size()));
  } else {
    return base::InvalidArgument("input '" + name + "' takes a list of str or bytes");
  }
  return Tensor::FromStrings(TRY(tensor::Shape::FromDims(dims)), strings);
}

// A tensor of a type that NumPy lacks, given to others by DLPack.
class Held {
 public:
  explicit Held(Tensor tensor) : tensor_(std::move(tensor)) {}

  const Tensor& tensor() const { return tensor_; }

  py::capsule Dlpack(const py::kwargs&) const {
    if (tensor_.dtype != DType::kBF16) {
      throw py::buffer_error("DLPack has no type for " +
                             std::string(tensor::DTypeName(tensor_.dtype)));
    }
    struct Shared {
      Tensor tensor;
      std::vector<int64_t> shape;
      DLManagedTensor managed;
    };
    auto shared = std::make_unique<Shared>();
    shared->tensor = tensor_;
    const auto dims = tensor_.shape.dims();
    shared->shape.assign(dims.begin(), dims.end());
    shared->managed.dl_tensor = {const_cast<std::byte*>(tensor_.buffer.data()),
                                 {kDLCPU, 0},
                                 static_cast<int32_t>(dims.size()),
                                 {kDLBfloat, 16, 1},
                                 shared->shape.data(),
                                 nullptr,
                                 0};
    shared->managed.manager_ctx = shared.get();
    shared->managed.deleter = [](DLManagedTensor* self) {
      delete static_cast<Shared*>(self->manager_ctx);
    };
    DLManagedTensor* const managed = &shared.release()->managed;
    return py::capsule(managed, "dltensor", [](PyObject* capsule) {
      // Spent capsules have another name: then the taker deletes.
      if (PyCapsule_IsValid(capsule, "dltensor") == 0) return;
      auto* const own = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
      own->deleter(own);
    });
  }

 private:
  Tensor tensor_;
};

}  // namespace

base::Result<Tensor> FromPython(const std::string& name, py::handle value,
                                const graph::TensorInterface* input) {
  if (input == nullptr || input->dtype == DType::kBytes) return FromStrings(name, value);
  if (py::isinstance<py::array>(value)) {
    return FromArray(name, py::reinterpret_borrow<py::array>(value));
  }
  if (py::hasattr(value, "__dlpack__")) return FromDlpack(name, value);
  const char* const type = NumpyName(input->dtype);
  if (type == nullptr) {
    return base::InvalidArgument("input '" + name + "' of type " +
                                 std::string(tensor::DTypeName(input->dtype)) +
                                 " takes a tensor with __dlpack__");
  }
  return FromArray(name, py::module_::import("numpy").attr("asarray")(value, type));
}

py::object ToPython(const Tensor& tensor) {
  const std::vector<int64_t> shape(tensor.shape.dims().begin(), tensor.shape.dims().end());
  if (tensor.dtype == DType::kBytes) {
    py::list elements;
    for (const std::string_view text : tensor.view().span<std::string_view>()) {
      elements.append(py::bytes(text.data(), text.size()));
    }
    py::object array = py::module_::import("numpy").attr("empty")(elements.size(), "object");
    for (size_t i = 0; i < elements.size(); ++i) array[py::int_(i)] = elements[i];
    return array.attr("reshape")(py::cast(shape));
  }
  const char* const type = NumpyName(tensor.dtype);
  if (type == nullptr) return py::cast(Held(tensor));
  auto held = std::make_unique<Tensor>(tensor);
  const std::byte* const data = held->buffer.data();
  const py::capsule owner(held.release(), [](void* own) { delete static_cast<Tensor*>(own); });
  return py::array(py::dtype(type), shape, data, owner);
}

void DefineTensor(py::module_& module) {
  py::class_<Held>(module, "Tensor", "An output of a type that NumPy lacks, such as BF16.")
      .def_property_readonly(
          "dtype",
          [](const Held& self) { return std::string(tensor::DTypeName(self.tensor().dtype)); },
          "The element type's name, such as 'BF16'.")
      .def_property_readonly(
          "shape",
          [](const Held& self) {
            py::list shape;
            for (const int64_t dim : self.tensor().shape.dims()) shape.append(dim);
            return py::tuple(shape);
          },
          "The extents.")
      .def(
          "tobytes",
          [](const Held& self) {
            return py::bytes(reinterpret_cast<const char*>(self.tensor().buffer.data()),
                             static_cast<size_t>(self.tensor().view().bytes()));
          },
          "A copy of the elements, row-major.")
      .def("__dlpack__", &Held::Dlpack, "A DLPack capsule over the same memory.")
      .def("__dlpack_device__", [](const Held&) { return py::make_tuple(kDLCPU, 0); });
}

}  // namespace sluice::python
