// Fields of requests that do nothing here: some change nothing about an answer, others would and
// are refused.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace sluice::serve {

// Whether the field is known and, at this value, changes nothing; false: nobody knows it.
// kUnimplemented, by its name: the value would change the answer. Null is harmless everywhere.
base::Result<bool> IsHarmless(std::string_view field, const base::JsonValue& value);

}  // namespace sluice::serve
