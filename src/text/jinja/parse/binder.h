// Binds the names of a parsed template to places, by the scopes that Jinja's compiler makes: blocks
// copy an outer variable that they assign to, branches of `if` do not; macros see the variables
// around them as they are when they are called; what is nowhere assigned comes from the context.
#pragma once

#include "base/result.h"
#include "text/jinja/parse/ast.h"

namespace sluice::text::jinja {

// Fails on filters and tests that do not exist, as Jinja does when it compiles; inside `if` they
// fail when they are used.
base::Status Bind(Program& program);

}  // namespace sluice::text::jinja
