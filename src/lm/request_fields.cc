#include "lm/request_fields.h"

#include <cmath>
#include <limits>

namespace sluice::lm {
namespace {

using engine::Parameter;
using tensor::DType;

constexpr double kPrepareNs = 2000;
// Of a token id, and of a byte of text to be tokenised.
constexpr double kPrepareNsPerToken = 2;
constexpr double kPrepareNsPerByte = 25;

std::optional<double> AsDouble(const Parameter& value) {
  if (std::holds_alternative<double>(value)) return std::get<double>(value);
  if (std::holds_alternative<int64_t>(value)) return static_cast<double>(std::get<int64_t>(value));
  if (std::holds_alternative<uint64_t>(value)) {
    return static_cast<double>(std::get<uint64_t>(value));
  }
  return std::nullopt;
}

std::string Short(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

base::Error Wrong(const char* name, const std::string& expected) {
  return base::InvalidArgument("parameter " + std::string(name) + ": expected " + expected);
}

base::Error WrongInput(const tensor::NamedTensor& input, const std::string& expected) {
  const tensor::ConstView view = input.tensor.view();
  return base::InvalidArgument("input " + input.name + ": expected " + expected + ", got " +
                               std::string(DTypeName(view.dtype)) + " " + view.shape.ToString());
}

bool IsIntegers(const tensor::ConstView& view) {
  return view.dtype == DType::kI32 || view.dtype == DType::kI64;
}

int64_t IntegerAt(const tensor::ConstView& view, size_t i) {
  return view.dtype == DType::kI32 ? view.as<int32_t>()[i] : view.as<int64_t>()[i];
}

}  // namespace

base::Result<std::vector<int32_t>> ReadIds(const tensor::NamedTensor& input, int64_t vocabulary) {
  const tensor::ConstView view = input.tensor.view();
  const bool flat = view.shape.rank() == 1 || (view.shape.rank() == 2 && view.shape[0] == 1);
  if (!flat || !IsIntegers(view)) {
    return WrongInput(input, "INT32 or INT64 of shape [n] or [1, n]");
  }
  std::vector<int32_t> ids(static_cast<size_t>(view.shape.elements()));
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t id = IntegerAt(view, i);
    if (id < 0 || id >= vocabulary) {
      return base::InvalidArgument("input " + input.name + ": token " + std::to_string(id) +
                                   " at " + std::to_string(i) + " is outside [0, " +
                                   std::to_string(vocabulary) + ")");
    }
    ids[i] = static_cast<int32_t>(id);
  }
  return ids;
}

base::Result<std::vector<int32_t>> ReadCounts(const tensor::NamedTensor& input, int64_t low,
                                              int64_t high) {
  const tensor::ConstView view = input.tensor.view();
  if (view.shape.rank() != 1 || !IsIntegers(view)) {
    return WrongInput(input, "INT32 or INT64 of shape [n]");
  }
  std::vector<int32_t> counts(static_cast<size_t>(view.shape.elements()));
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t count = IntegerAt(view, i);
    if (count < low || count > high) {
      return base::InvalidArgument("input " + input.name + ": expected numbers in [" +
                                   std::to_string(low) + ", " + std::to_string(high) + "], got " +
                                   std::to_string(count) + " at " + std::to_string(i));
    }
    counts[i] = static_cast<int32_t>(count);
  }
  return counts;
}

base::Result<std::span<const float>> ReadFloats(const tensor::NamedTensor& input) {
  const tensor::ConstView view = input.tensor.view();
  if (view.shape.rank() != 1 || view.dtype != DType::kF32) {
    return WrongInput(input, "FP32 of shape [n]");
  }
  return view.span<float>();
}

base::Result<std::string_view> ReadText(const tensor::NamedTensor& input) {
  const tensor::ConstView view = input.tensor.view();
  if (view.dtype != DType::kBytes || view.shape.elements() != 1) {
    return WrongInput(input, "BYTES of shape [1]");
  }
  return view.as<std::string_view>()[0];
}

base::Result<std::span<const std::string_view>> ReadTexts(const tensor::NamedTensor& input,
                                                          int64_t count_max) {
  const tensor::ConstView view = input.tensor.view();
  const bool flat = view.shape.rank() == 1 || (view.shape.rank() == 2 && view.shape[1] == 1);
  if (view.dtype != DType::kBytes || !flat || view.shape[0] < 1 || view.shape[0] > count_max) {
    return WrongInput(input, "BYTES of shape [n], n in [1, " + std::to_string(count_max) + "]");
  }
  return view.span<std::string_view>();
}

base::Result<TokenLists> ReadTokenLists(const TokenListInputs& inputs, int64_t vocabulary,
                                        int64_t lists_max) {
  const std::vector<int32_t> tokens = TRY(ReadIds(*inputs.ids, vocabulary));
  std::vector<int32_t> lengths = {static_cast<int32_t>(tokens.size())};
  if (inputs.lengths != nullptr) {
    lengths = TRY(ReadCounts(*inputs.lengths, 1, std::numeric_limits<int32_t>::max()));
  }
  int64_t sum = 0;
  for (const int32_t length : lengths) sum += length;
  const auto count = static_cast<int64_t>(lengths.size());
  if (count < 1 || count > lists_max || tokens.empty() ||
      sum != static_cast<int64_t>(tokens.size())) {
    return base::InvalidArgument(
        std::string("input ") + inputs.lengths_name + ": expected 1 to " +
        std::to_string(lists_max) + " lengths of at least 1 whose sum is " +
        std::to_string(tokens.size()) + ", the size of " + inputs.ids->name + ", got " +
        std::to_string(count) + " with the sum " + std::to_string(sum));
  }
  TokenLists lists;
  lists.tokens.reserve(tokens.size());
  lists.ends.reserve(lengths.size());
  auto at = tokens.begin();
  for (const int32_t length : lengths) {
    lists.Add({at, at + length});
    at += length;
  }
  return lists;
}

base::Duration PrepareCostOf(const engine::Request& request) {
  double ns = kPrepareNs;
  for (const tensor::NamedTensor& input : request.inputs) {
    const auto bytes = static_cast<double>(input.tensor.buffer.bytes());
    ns += input.tensor.dtype == DType::kBytes ? bytes * kPrepareNsPerByte
                                              : bytes / 4 * kPrepareNsPerToken;
  }
  return {static_cast<int64_t>(ns)};
}

const Parameter* ParameterReader::Find(const char* name) const {
  for (const auto& [key, value] : parameters_) {
    if (key == name) return &value;
  }
  return nullptr;
}

base::Status ParameterReader::Number(const char* name, double low, double high, float& out) {
  const Parameter* value = Find(name);
  if (value == nullptr) return base::Ok();
  const std::optional<double> number = AsDouble(*value);
  if (!number.has_value() || !(*number >= low && *number <= high)) {
    return Wrong(name, "a number in [" + Short(low) + ", " + Short(high) + "]");
  }
  out = static_cast<float>(*number);
  return base::Ok();
}

base::Status ParameterReader::Whole(const char* name, int64_t low, int64_t high, int64_t& out,
                                    bool& found) {
  const Parameter* value = Find(name);
  found = value != nullptr;
  if (!found) return base::Ok();
  const std::optional<double> number = AsDouble(*value);
  if (!number.has_value() || *number != std::floor(*number) || *number < static_cast<double>(low) ||
      *number > static_cast<double>(high)) {
    return Wrong(name, "an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]");
  }
  out = static_cast<int64_t>(*number);
  return base::Ok();
}

base::Status ParameterReader::Bool(const char* name, bool& out) {
  const Parameter* value = Find(name);
  if (value == nullptr) return base::Ok();
  if (!std::holds_alternative<bool>(*value)) return Wrong(name, "true or false");
  out = std::get<bool>(*value);
  return base::Ok();
}

base::Status ParameterReader::Text(const char* name, size_t bytes_max, std::string& out) {
  const Parameter* value = Find(name);
  if (value == nullptr) return base::Ok();
  if (!std::holds_alternative<std::string>(*value) ||
      std::get<std::string>(*value).size() > bytes_max) {
    return Wrong(name, "a string of at most " + std::to_string(bytes_max) + " bytes");
  }
  out = std::get<std::string>(*value);
  return base::Ok();
}

}  // namespace sluice::lm
