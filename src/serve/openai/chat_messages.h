// The messages of a chat as the engine's chat templates want them.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace sluice::serve {

// The messages as JSON text. Contents that are lists of texts become one text, their parts on lines
// of their own; the role developer is the templates' system. kInvalidArgument for what is no
// message, kUnimplemented for parts that are no text.
base::Result<std::string> CopyMessages(const base::JsonValue& messages);

}  // namespace sluice::serve
