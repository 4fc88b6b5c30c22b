// The names of one frame of a template: what Jinja's idtracking.Symbols knows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

#include "text/jinja/parse/ast.h"

namespace sluice::text::jinja {

// A variable of a function. Frames of one level share those of one name.
struct Variable {
  Function* function = nullptr;
  int32_t slot = -1;
};

// All variables of a template.
class Variables {
 public:
  // `space` keeps the variables of a loop's filter apart from those of its body.
  Variable* Get(Function* function, int space, int level, std::string_view name);

 private:
  std::map<std::tuple<Function*, int, int, std::string_view>, Variable> all_;
};

class Scope {
 public:
  enum class Source : uint8_t { kParameter, kContext, kAlias, kUnset };
  struct LoadFrom {
    Source source = Source::kUnset;
    std::string_view name;           // in the context
    const Variable* from = nullptr;  // of an alias
  };

  Scope(Variables& variables, Function* function, Scope* parent, int space = 0)
      : variables_(variables),
        function_(function),
        parent_(parent),
        space_(space),
        level_(parent == nullptr ? 0 : parent->level_ + 1) {}

  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  Variable* Find(std::string_view name) const;
  void Store(std::string_view name);
  Variable* DeclareParameter(std::string_view name);
  void Load(std::string_view name);
  // What a branch of `if` adds to this scope, kept apart until Merge.
  Scope* NewBranch();
  void Merge(const std::vector<Scope*>& branches);

  Function* function() const { return function_; }
  const Scope* parent() const { return parent_; }
  const std::map<Variable*, LoadFrom>& loads() const { return loads_; }

 private:
  Variable* FindHere(std::string_view name) const;
  bool Stores(std::string_view name) const;
  Variable* Define(std::string_view name, LoadFrom from);

  Variables& variables_;
  Function* const function_;
  Scope* const parent_;  // the frame around
  const int space_;
  int level_;
  const Scope* base_ = nullptr;  // of a branch
  std::map<std::string_view, Variable*> names_;
  std::map<Variable*, LoadFrom> loads_;
  std::set<std::string_view> stores_;
  std::vector<std::unique_ptr<Scope>> branches_;
};

}  // namespace sluice::text::jinja
