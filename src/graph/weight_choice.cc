#include "graph/weight_choice.h"

#include <optional>

#include "base/files.h"
#include "base/json.h"

namespace sluice::graph {
namespace {

constexpr int64_t kChoiceBytesMax = int64_t{4} << 20;

}  // namespace

kernels::WeightForm WeightChoice::For(const std::string& node) const {
  const auto found = nodes.find(node);
  return found == nodes.end() ? form : found->second;
}

base::Result<kernels::WeightForm> ParseWeightForm(std::string_view name) {
  for (int i = 0; i < kernels::kWeightFormCount; ++i) {
    const auto form = static_cast<kernels::WeightForm>(i);
    if (name == WeightFormName(form)) return form;
  }
  return base::InvalidArgument("weights are f32, bf16, int8, bf16-storage or int8-storage, not '" +
                               std::string(name) + "'");
}

base::Result<WeightChoice> ParseWeightChoice(std::string_view json) {
  base::JsonDocument document;
  const base::JsonValue root = TRY(document.Parse(json));
  WeightChoice choice;
  const base::JsonValue all = TRY(root.Get("weights"));
  const std::string_view name = TRY(all.AsString());
  choice.form = TRY(ParseWeightForm(name));
  const std::optional<base::JsonValue> nodes = TRY(root.Find("nodes"));
  if (!nodes.has_value()) return choice;
  const auto read = [&](std::string_view node, base::JsonValue form) -> base::Status {
    const std::string_view form_name = TRY(form.AsString());
    choice.nodes[std::string(node)] = TRY(ParseWeightForm(form_name));
    return base::Ok();
  };
  TRY(nodes->ForEachMember(read));
  return choice;
}

std::string WeightChoicePath(const std::string& model_path) {
  return model_path + ".weights.json";
}

base::Result<WeightChoice> ReadWeightChoice(const std::string& model_path) {
  const std::string path = WeightChoicePath(model_path);
  base::Result<std::string> text = base::ReadFile(path, kChoiceBytesMax);
  if (!text.ok()) {
    if (text.error().code == base::Code::kNotFound) return WeightChoice();
    return std::move(text).error();
  }
  base::Result<WeightChoice> choice = ParseWeightChoice(*text);
  if (!choice.ok()) {
    base::Error error = std::move(choice).error();
    error.message = path + ": " + error.message;
    return error;
  }
  return choice;
}

}  // namespace sluice::graph
