#include "text/jinja/json_value.h"

#include <string>

namespace sluice::text::jinja {
namespace {

using base::JsonKind;
using base::JsonValue;
using base::Status;

// Tells a walk to stop; the workspace has the reason.
Status Stop(bool good) {
  return good ? base::Ok() : Status(base::Internal("stopped"));
}

bool FromArray(Workspace& work, const JsonValue& json, Value& out, int depth) {
  Value made;
  if (!work.NewList(static_cast<size_t>(json.size()), made)) return false;
  size_t at = 0;
  const Status walked = json.ForEachElement([&](JsonValue element) {
    return Stop(FromJson(work, element, made.list->items[at++], depth + 1));
  });
  out = made;
  return walked.ok();
}

bool FromObject(Workspace& work, const JsonValue& json, Value& out, int depth) {
  Value made;
  if (!work.NewDict(static_cast<size_t>(json.size()), made)) return false;
  const Status walked = json.ForEachMember([&](std::string_view key, JsonValue element) {
    Value value;
    return Stop(FromJson(work, element, value, depth + 1) &&
                made.dict->Set(work, Value::String(key), value));
  });
  out = made;
  return walked.ok();
}

}  // namespace

bool FromJson(Workspace& work, const JsonValue& json, Value& out, int depth) {
  if (depth > kNestingMax) {
    return work.Fail("expected JSON of at most " + std::to_string(kNestingMax) + " levels",
                     base::Code::kResourceExhausted);
  }
  if (!work.Charge(1)) return false;
  switch (json.kind()) {
    case JsonKind::kNull:
      out = Value::None();
      return true;
    case JsonKind::kBool:
      out = Value::Bool(*json.AsBool());
      return true;
    case JsonKind::kInt:
    case JsonKind::kUint: {
      const auto number = json.AsInt();
      if (!number.ok()) {
        return work.Fail("expected integers of at most 63 bits in what the template is given",
                         base::Code::kUnimplemented);
      }
      out = Value::Int(*number);
      return true;
    }
    case JsonKind::kDouble:
      out = Value::Float(*json.AsDouble());
      return true;
    case JsonKind::kString:
      out = Value::String(*json.AsString());
      return true;
    case JsonKind::kArray:
      return FromArray(work, json, out, depth);
    case JsonKind::kObject:
      return FromObject(work, json, out, depth);
  }
  return false;
}

}  // namespace sluice::text::jinja
