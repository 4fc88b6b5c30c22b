// The small operators of ai.onnx.ml that click models and their features are exported with: linear
// models, scalers, encoders. Trees are in tree_models.cc.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "graph/onnx/contrib.h"

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

Result<std::vector<double>> ContribNumbers(const tensor::Tensor& tensor) {
  const tensor::ConstView view = tensor.view();
  std::vector<double> numbers;
  for (int64_t i = 0; i < view.shape.elements(); ++i) {
    switch (view.dtype) {
      case DType::kF32:
        numbers.push_back(static_cast<double>(view.as<float>()[i]));
        break;
      case DType::kF64:
        numbers.push_back(view.as<double>()[i]);
        break;
      case DType::kU8:
        numbers.push_back(static_cast<double>(view.as<uint8_t>()[i]));
        break;
      default:
        return base::Unimplemented("numbers of type " + std::string(tensor::DTypeName(view.dtype)));
    }
  }
  return numbers;
}

Result<ContribLabels> ContribClassLabels(ContribBody& body) {
  std::vector<std::string> names = body.Strings("classlabels_strings");
  std::vector<int64_t> numbers = body.Ints("classlabels_int64s");
  if (numbers.empty()) numbers = body.Ints("classlabels_ints");
  if (names.empty() == numbers.empty())
    return base::InvalidArgument("the labels must be listed as strings or as integers");
  ContribLabels labels;
  labels.count = static_cast<int64_t>(names.size() + numbers.size());
  labels.values = names.empty() ? body.IntList(numbers) : body.StringList(names);
  return labels;
}

Result<std::string> ContribPostTransform(ContribBody& body, const std::string& scores,
                                         std::string_view name) {
  if (name == "NONE") return scores;
  if (name == "LOGISTIC") return body.Make("Sigmoid", {scores});
  if (name == "SOFTMAX") return body.Make("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (name != "SOFTMAX_ZERO")
    return body.Refuse("post_transform " + std::string(name) + " is not supported");
  // Zeros stay close to zero: they take no part in the sum.
  const std::string last = body.IntList({-1});
  const std::string most = body.Make("ReduceMax", {scores, last});
  const std::string counts =
      body.Make("Greater", {body.Make("Abs", {scores}), body.Number32(1e-7F)});
  const std::string powers = body.Make("Exp", {body.Make("Sub", {scores, most})});
  const std::string kept = body.Make("Where", {counts, powers, body.Number32(0)});
  const std::string small =
      body.Make("Mul", {scores, body.Make("Exp", {body.Make("Neg", {most})})});
  const std::string sum = body.Make("ReduceSum", {kept, last});
  return body.Make("Div", {body.Make("Where", {counts, powers, small}), sum});
}

namespace {

std::string AsFloat(ContribBody& body) {
  return body.Type(0) == DType::kF32 ? body.In(0) : body.CastTo(body.In(0), DType::kF32);
}

Status ExpandScaler(ContribBody& body) {
  std::string y = AsFloat(body);
  const std::vector<float> offset = body.Floats("offset");
  const std::vector<float> scale = body.Floats("scale");
  if (!offset.empty()) y = body.Make("Sub", {y, body.FloatList(offset)});
  if (!scale.empty()) y = body.Make("Mul", {y, body.FloatList(scale)});
  body.Output(0, y);
  return Ok();
}

Status ExpandNormalizer(ContribBody& body) {
  const std::string norm = body.String("norm", "MAX");
  const std::string x = AsFloat(body);
  const std::string last = body.IntList({-1});
  std::string size;
  if (norm == "MAX") {
    // By the largest, its sign included, as ONNX Runtime does.
    size = body.Make("ReduceMax", {x, last});
  } else if (norm == "L1" || norm == "L2") {
    size = body.Make("Reduce" + norm, {x, last});
  } else {
    return body.Refuse("norm '" + norm + "' is not known");
  }
  const std::string zero = body.Make("Equal", {size, body.Number32(0)});
  size = body.Make("Where", {zero, body.Number32(1), size});
  body.Output(0, body.Make("Div", {x, size}));
  return Ok();
}

Status ExpandBinarizer(ContribBody& body) {
  const std::string above =
      body.Make("Greater", {body.In(0), body.Number(body.Float("threshold", 0), 0)});
  body.Output(0, body.CastTo(above, body.Type(0)));
  return Ok();
}

Status ExpandImputer(ContribBody& body) {
  const std::vector<float> floats = body.Floats("imputed_value_floats");
  const std::vector<int64_t> ints = body.Ints("imputed_value_int64s");
  const float replaced = body.Float("replaced_value_float", 0);
  const int64_t replaced_int = body.Int("replaced_value_int64", 0);
  std::string is_missing, filled;
  if (body.Type(0) == DType::kI64) {
    if (ints.empty()) return body.Refuse("no imputed_value_int64s");
    is_missing = body.Make("Equal", {body.In(0), body.IntScalar(replaced_int)});
    filled = body.IntList(ints);
  } else {
    if (floats.empty() || body.Type(0) != DType::kF32)
      return body.Refuse("no imputed values of its type");
    is_missing = std::isnan(replaced) ? body.Make("IsNaN", {body.In(0)})
                                      : body.Make("Equal", {body.In(0), body.Number32(replaced)});
    filled = body.FloatList(floats);
  }
  body.Output(0, body.Make("Where", {is_missing, filled, body.In(0)}));
  return Ok();
}

Status ExpandFeatureExtractor(ContribBody& body) {
  const std::optional<int> rank = body.Rank(0);
  if (!rank.has_value()) return body.Refuse("the rank of its input must be known");
  const std::string at = body.Make("Reshape", {body.In(1), body.IntList({-1})});
  std::string x = body.In(0);
  if (*rank == 1) x = body.Make("Unsqueeze", {x, body.IntList({0})});
  body.Output(0, body.Make("Gather", {x, at}, {{"axis", int64_t{-1}}}));
  return Ok();
}

Status ExpandFeatureVectorizer(ContribBody& body) {
  body.Ignore({"inputdimensions"});
  std::vector<std::string> parts;
  for (size_t i = 0; body.has(i); ++i) {
    if (body.Rank(i) != 2) return body.Refuse("inputs that are not of rank 2");
    parts.push_back(body.CastTo(body.In(i), DType::kF32));
  }
  body.Output(0, body.MakeFrom("Concat", parts, {{"axis", int64_t{1}}}));
  return Ok();
}

// ---- Linear models ----

// x [N, F] times the coefficients [targets, F], plus the intercepts.
Result<std::string> Linear(ContribBody& body, int64_t targets) {
  const std::vector<float> coefficients = body.Floats("coefficients");
  const std::vector<float> intercepts = body.Floats("intercepts");
  const auto count = static_cast<int64_t>(coefficients.size());
  if (targets < 1 || count == 0 || count % targets != 0)
    return base::InvalidArgument("the coefficients do not split among the targets");
  if (!intercepts.empty() && static_cast<int64_t>(intercepts.size()) != targets)
    return base::InvalidArgument("there must be an intercept for each target");
  const std::string weights = body.Make(
      "Reshape", {body.FloatList(coefficients), body.IntList({targets, count / targets})});
  return body.Make(
      "Gemm",
      {AsFloat(body), weights, intercepts.empty() ? std::string() : body.FloatList(intercepts)},
      {{"transB", int64_t{1}}});
}

Status ExpandLinearRegressor(ContribBody& body) {
  const std::string y = TRY(Linear(body, body.Int("targets", 1)));
  body.Output(0, TRY(ContribPostTransform(body, y, body.String("post_transform", "NONE"))));
  return Ok();
}

Status ExpandLinearClassifier(ContribBody& body) {
  const ContribLabels labels = TRY(ContribClassLabels(body));
  body.Ignore({"multi_class"});
  const auto intercepts = static_cast<int64_t>(body.Floats("intercepts").size());
  const int64_t targets = intercepts > 0 ? intercepts : labels.count;
  const std::string scores = TRY(Linear(body, targets));
  const std::string transform = body.String("post_transform", "NONE");
  if (targets == 1 && labels.count == 2) {
    // One score for two classes.
    const std::string threshold = body.Number32(0);
    const std::string second = body.CastTo(body.Make("Greater", {scores, threshold}), DType::kI64);
    body.Output(
        0, body.Make("Gather", {labels.values, body.Make("Squeeze", {second, body.IntList({1})})}));
    std::string both;
    if (transform == "LOGISTIC") {
      const std::string p = body.Make("Sigmoid", {scores});
      both =
          body.Make("Concat", {body.Make("Sub", {body.Number32(1), p}), p}, {{"axis", int64_t{1}}});
    } else {
      both = body.Make("Concat", {body.Make("Neg", {scores}), scores}, {{"axis", int64_t{1}}});
      both = TRY(ContribPostTransform(body, both, transform));
    }
    body.Output(1, both);
    return Ok();
  }
  if (targets != labels.count) return base::InvalidArgument("there must be a label for each score");
  const std::string best =
      body.Make("ArgMax", {scores}, {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
  body.Output(0, body.Make("Gather", {labels.values, best}));
  body.Output(1, TRY(ContribPostTransform(body, scores, transform)));
  return Ok();
}

// ---- LabelEncoder ----

// Keys or values of a LabelEncoder, from whichever attribute has them. Null dtype: none.
Result<std::optional<tensor::Tensor>> EncoderList(ContribBody& body, const std::string& what) {
  const std::vector<std::string> strings = body.Strings(what + "_strings");
  const std::vector<int64_t> ints = body.Ints(what + "_int64s");
  const std::vector<float> floats = body.Floats(what + "_floats");
  std::optional<tensor::Tensor> given = TRY(body.Tensor(what + "_tensor"));
  if (given.has_value()) {
    if (given->shape.rank() != 1) return base::InvalidArgument(what + "_tensor must have rank 1");
    return given;
  }
  const auto list = [](DType dtype, const auto& values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(values[0]));
    tensor::Tensor tensor{dtype, tensor::Shape({static_cast<int64_t>(values.size())}),
                          tensor::Buffer::Allocate(bytes)};
    std::memcpy(tensor.buffer.mutable_data(), values.data(), static_cast<size_t>(bytes));
    return std::optional<tensor::Tensor>(std::move(tensor));
  };
  if (!strings.empty()) {
    const tensor::Shape shape({static_cast<int64_t>(strings.size())});
    return std::optional<tensor::Tensor>(tensor::Tensor::FromStrings(shape, strings));
  }
  if (!ints.empty()) return list(DType::kI64, ints);
  if (!floats.empty()) return list(DType::kF32, floats);
  return std::optional<tensor::Tensor>();
}

// What a key that is not listed becomes.
Result<tensor::Tensor> EncoderDefault(ContribBody& body, DType dtype) {
  const std::string text = body.String("default_string", "_Unused");
  const int64_t integer = body.Int("default_int64", -1);
  const float number = body.Float("default_float", -0.0F);
  std::optional<tensor::Tensor> given = TRY(body.Tensor("default_tensor"));
  if (given.has_value()) {
    if (given->dtype != dtype || given->shape.elements() != 1)
      return base::InvalidArgument("default_tensor must hold one element of the values' type");
    given->shape = tensor::Shape({1});
    return *std::move(given);
  }
  if (dtype == DType::kBytes) return tensor::Tensor::FromStrings(tensor::Shape({1}), {text});
  tensor::Tensor tensor{dtype, tensor::Shape({1}),
                        tensor::Buffer::Allocate(tensor::DTypeSize(dtype))};
  const tensor::View view = tensor.mutable_view();
  if (dtype == DType::kI64) {
    *view.as<int64_t>() = integer;
  } else if (dtype == DType::kF32) {
    *view.as<float>() = number;
  } else {
    return base::Unimplemented("values of type " + std::string(tensor::DTypeName(dtype)) +
                               " need a default_tensor");
  }
  return tensor;
}

// The places of the keys in order, the first of equal ones alone.
template <class T, class Below>
std::vector<int64_t> SortedOnce(const T* keys, int64_t count, Below below) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return below(keys[a], keys[b]); });
  std::vector<int64_t> once;
  for (const int64_t i : order) {
    if (once.empty() || below(keys[once.back()], keys[i])) once.push_back(i);
  }
  return once;
}

template <class T>
std::vector<int64_t> SortedNumbers(const tensor::Tensor& keys) {
  return SortedOnce(keys.view().as<T>(), keys.shape.elements(), [](T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(b)) return false;
      if (std::isnan(a)) return true;
    }
    return a < b;
  });
}

Result<std::vector<int64_t>> KeyOrder(const tensor::Tensor& keys) {
  switch (keys.dtype) {
    case DType::kI16:
      return SortedNumbers<int16_t>(keys);
    case DType::kI32:
      return SortedNumbers<int32_t>(keys);
    case DType::kI64:
      return SortedNumbers<int64_t>(keys);
    case DType::kF32:
      return SortedNumbers<float>(keys);
    case DType::kF64:
      return SortedNumbers<double>(keys);
    case DType::kBytes:
      return SortedOnce(keys.view().as<std::string_view>(), keys.shape.elements(),
                        [](std::string_view a, std::string_view b) { return a < b; });
    default:
      return base::Unimplemented("keys of type " + std::string(tensor::DTypeName(keys.dtype)));
  }
}

// Elements of `from` in this order, as a constant.
Result<std::string> Picked(ContribBody& body, const tensor::Tensor& from,
                           const std::vector<int64_t>& order) {
  onnx::TensorProto proto;
  proto.set_data_type(static_cast<int32_t>(ContribCode(from.dtype)));
  proto.add_dims(static_cast<int64_t>(order.size()));
  const tensor::ConstView view = from.view();
  if (from.dtype == DType::kBytes) {
    for (const int64_t i : order)
      proto.add_string_data(std::string(view.as<std::string_view>()[i]));
  } else {
    const auto size = static_cast<size_t>(tensor::DTypeSize(from.dtype));
    std::string raw;
    for (const int64_t i : order)
      raw.append(static_cast<const char*>(view.data) + static_cast<size_t>(i) * size, size);
    proto.set_raw_data(std::move(raw));
  }
  return body.TensorConstant(std::move(proto));
}

Status ExpandLabelEncoder(ContribBody& body) {
  if (body.HasAttribute("classes_strings")) {
    return body.Refuse("the form of ai.onnx.ml 1 (classes_strings) is not supported");
  }
  const std::optional<tensor::Tensor> keys = TRY(EncoderList(body, "keys"));
  const std::optional<tensor::Tensor> values = TRY(EncoderList(body, "values"));
  if (!keys.has_value() || !values.has_value() ||
      keys->shape.elements() != values->shape.elements()) {
    return base::InvalidArgument("keys and values must be listed, as many of one as of the other");
  }
  if (tensor::IsStorage(values->dtype))
    return body.Refuse("values of type " + std::string(tensor::DTypeName(values->dtype)));
  const tensor::Tensor fallback = TRY(EncoderDefault(body, values->dtype));
  const std::vector<int64_t> order = TRY(KeyOrder(*keys));
  body.Output(0, body.Make("MapValues",
                           {body.In(0), TRY(Picked(body, *keys, order)),
                            TRY(Picked(body, *values, order)), TRY(Picked(body, fallback, {0}))}));
  return Ok();
}

Status RefuseZipMap(ContribBody& body) {
  return body.Refuse(
      "ZipMap makes maps, which no response carries: export the classifier without it "
      "(skl2onnx: options={'zipmap': False})");
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"ArrayFeatureExtractor", ExpandFeatureExtractor},
    {"Binarizer", ExpandBinarizer},
    {"FeatureVectorizer", ExpandFeatureVectorizer},
    {"Imputer", ExpandImputer},
    {"LabelEncoder", ExpandLabelEncoder},
    {"LinearClassifier", ExpandLinearClassifier},
    {"LinearRegressor", ExpandLinearRegressor},
    {"Normalizer", ExpandNormalizer},
    {"Scaler", ExpandScaler},
    {"ZipMap", RefuseZipMap},
});

}  // namespace

std::span<const ContribOp> ClassicModelOps() {
  return kOps;
}

}  // namespace sluice::graph
