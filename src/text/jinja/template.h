// A template of the Jinja language as chat templates use it: parsed once, rendered often.
//
// The language is that of Python's jinja2 3.1 in the environment that Hugging Face transformers
// makes: trim_blocks, lstrip_blocks, no escaping, the immutable sandbox, loop controls, its
// `tojson`, `raise_exception`, `strftime_now` and {% generation %}. Where Python has integers
// without bound ours have 64 bits. Template inheritance, includes, recursive loops and the filters
// filesizeformat, pprint, random, striptags, urlize, wordwrap and xmlattr are refused by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {

struct Program;

// Immutable and safe to share between threads.
class Template {
 public:
  // kInvalidArgument says the line, what was expected and what came; kUnimplemented names a part of
  // the language that is not built here.
  static base::Result<std::shared_ptr<const Template>> Parse(std::string_view source);
  ~Template();

  // `context` holds the variables and lives in `work`. `now`: seconds since 1970, for strftime_now.
  // What the template raises and what goes wrong in it is kInvalidArgument; a limit that is reached
  // is kResourceExhausted.
  base::Result<std::string> Render(Workspace& work, const Dict& context, double now) const;

 private:
  explicit Template(std::unique_ptr<Program> program);

  const std::unique_ptr<Program> program_;
};

}  // namespace sluice::text::jinja
