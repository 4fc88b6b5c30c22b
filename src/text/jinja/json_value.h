// JSON as a template's values.
#pragma once

#include "base/json.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {

// Strings stay in the document, which outlives the workspace's values. Of a key that comes twice
// the last one counts. Integers beyond 63 bits are refused.
bool FromJson(Workspace& work, const base::JsonValue& json, Value& out, int depth = 0);

}  // namespace sluice::text::jinja
