#include "text/jinja/template.h"

#include <utility>

#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parse/ast.h"
#include "text/jinja/parse/binder.h"
#include "text/jinja/parse/parser.h"

namespace sluice::text::jinja {

using base::Result;

Template::Template(std::unique_ptr<Program> program) : program_(std::move(program)) {}
Template::~Template() = default;

Result<std::shared_ptr<const Template>> Template::Parse(std::string_view source) {
  auto program = std::make_unique<Program>();
  program->source = base::ReplaceInvalidUtf8(source);
  TRY(jinja::Parse(*program));
  TRY(Bind(*program));
  return std::shared_ptr<const Template>(new Template(std::move(program)));
}

Result<std::string> Template::Render(Workspace& work, const Dict& context, double now) const {
  std::string text;
  Evaluator evaluator(*program_, work, context, now);
  if (evaluator.Run(text)) return text;
  return work.error();
}

}  // namespace sluice::text::jinja
