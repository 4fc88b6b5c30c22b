#include "report/compare.h"

#include <algorithm>

#include "base/json.h"
#include "report/json.h"

namespace sluice::report {

base::Result<Comparison> CompareWith(const Report& report, const std::string& name,
                                     std::string_view json) {
  base::JsonDocument document;
  const base::JsonValue root = TRY(document.Parse(json));
  const base::JsonValue schema_value = TRY(root.Get("schema"));
  const std::string_view schema = TRY(schema_value.AsString());
  if (schema != kSchema) {
    return base::InvalidArgument("expected schema '" + std::string(kSchema) + "', got '" +
                                 std::string(schema.substr(0, 64)) + "'");
  }
  Comparison comparison;
  comparison.name = name;
  const base::JsonValue total = TRY(root.Get("total"));
  const base::JsonValue total_us = TRY(total.Get("us"));
  comparison.before_us = TRY(total_us.AsDouble());
  comparison.rows.push_back({"total", comparison.before_us, report.us});
  for (const Group& layer : report.layers) comparison.rows.push_back({layer.name, 0, layer.us});
  const base::JsonValue layers = TRY(root.Get("layers"));
  const auto take = [&](base::JsonValue layer) -> base::Status {
    const base::JsonValue name_value = TRY(layer.Get("name"));
    const std::string_view layer_name = TRY(name_value.AsString());
    const base::JsonValue us_value = TRY(layer.Get("us"));
    const double us = TRY(us_value.AsDouble());
    const auto found = std::find_if(comparison.rows.begin() + 1, comparison.rows.end(),
                                    [&](const auto& row) { return row.name == layer_name; });
    if (found != comparison.rows.end()) {
      found->before_us = us;
    } else {
      comparison.rows.push_back({std::string(layer_name), us, 0});
    }
    return base::Ok();
  };
  TRY(layers.ForEachElement(take));
  return comparison;
}

}  // namespace sluice::report
