#include "text/jinja/parse/scope.h"

#include <memory>

namespace sluice::text::jinja {

Variable* Variables::Get(Function* function, int space, int level, std::string_view name) {
  Variable& variable = all_[{function, space, level, name}];
  if (variable.function == nullptr) {
    variable.function = function;
    variable.slot = function->slot_count++;
  }
  return &variable;
}

Variable* Scope::FindHere(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->base_) {
    const auto found = scope->names_.find(name);
    if (found != scope->names_.end()) return found->second;
  }
  return nullptr;
}

Variable* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_) {
    if (Variable* found = scope->FindHere(name)) return found;
  }
  return nullptr;
}

bool Scope::Stores(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->base_) {
    if (scope->stores_.contains(name)) return true;
  }
  return false;
}

Variable* Scope::Define(std::string_view name, LoadFrom from) {
  Variable* variable = variables_.Get(function_, space_, level_, name);
  names_[name] = variable;
  loads_[variable] = from;
  return variable;
}

void Scope::Store(std::string_view name) {
  stores_.insert(name);
  if (FindHere(name) != nullptr) return;
  const Variable* outer = parent_ == nullptr ? nullptr : parent_->Find(name);
  if (outer != nullptr) {
    Define(name, {Source::kAlias, name, outer});
  } else {
    Define(name, {Source::kUnset, name, nullptr});
  }
}

Variable* Scope::DeclareParameter(std::string_view name) {
  stores_.insert(name);
  return Define(name, {Source::kParameter, name, nullptr});
}

void Scope::Load(std::string_view name) {
  if (Find(name) == nullptr) Define(name, {Source::kContext, name, nullptr});
}

Scope* Scope::NewBranch() {
  auto branch = std::make_unique<Scope>(variables_, function_, parent_, space_);
  branch->level_ = level_;
  branch->base_ = this;
  branches_.push_back(std::move(branch));
  return branches_.back().get();
}

void Scope::Merge(const std::vector<Scope*>& branches) {
  std::set<std::string_view> stored;
  for (const Scope* branch : branches) {
    for (const std::string_view name : branch->stores_) {
      if (!Stores(name)) stored.insert(name);
    }
  }
  for (Scope* branch : branches) {
    for (const auto& [name, variable] : branch->names_) names_[name] = variable;
    for (const auto& [variable, from] : branch->loads_) loads_[variable] = from;
    stores_.insert(branch->stores_.begin(), branch->stores_.end());
  }
  for (const std::string_view name : stored) {
    Variable* target = Find(name);
    const Variable* outer = parent_ == nullptr ? nullptr : parent_->Find(name);
    loads_[target] = outer != nullptr ? LoadFrom{Source::kAlias, name, outer}
                                      : LoadFrom{Source::kContext, name, nullptr};
  }
  branches_.clear();
}

}  // namespace sluice::text::jinja
