#include "serve/router.h"

#include <algorithm>

#include "serve/service.h"

namespace sluice::serve {

int64_t ParseVersion(std::string_view text) {
  if (text.empty() || text.size() > 18) return 0;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + (c - '0');
  }
  return value;
}

base::Result<Router::Pin> Router::Find(std::string_view name, std::string_view version) const {
  std::shared_ptr<const Table> models = table();
  auto shown = [&] {
    return "Request for unknown model: '" + std::string(name.substr(0, 128)) + "'";
  };
  auto found = models->find(name);
  // No model's own name has a slash: ORG/NAME, as hubs and other servers call a model, is NAME.
  const size_t slash = name.find('/');
  if (found == models->end() && slash != std::string_view::npos &&
      IsModelName(name.substr(0, slash))) {
    found = models->find(name.substr(slash + 1));
  }
  if (found == models->end()) return base::NotFound(shown() + " is not found");
  const Versions& versions = found->second;
  if (version.empty()) {
    if (versions.empty()) return base::NotFound(shown() + " has no available versions");
    return versions.rbegin()->second;
  }
  int64_t number = ParseVersion(version);
  if (number == 0) {
    return base::InvalidArgument("failed to get model version from specified version string '" +
                                 std::string(version.substr(0, 32)) + "'");
  }
  auto at = versions.find(number);
  if (at == versions.end()) {
    return base::NotFound(shown() + " version " + std::to_string(number) + " is not found");
  }
  return at->second;
}

std::vector<Router::Pin> Router::All() const {
  std::shared_ptr<const Table> models = table();
  std::vector<Pin> all;
  for (const auto& [name, versions] : *models) {
    for (const auto& [number, pin] : versions) all.push_back(pin);
  }
  std::sort(all.begin(), all.end(), [](const Pin& a, const Pin& b) {
    return a->name != b->name ? a->name < b->name : a->version < b->version;
  });
  return all;
}

std::vector<Router::Pin> Router::VersionsOf(std::string_view name) const {
  std::shared_ptr<const Table> models = table();
  std::vector<Pin> list;
  auto found = models->find(name);
  if (found == models->end()) return list;
  for (const auto& [number, pin] : found->second) list.push_back(pin);
  return list;
}

void Router::Publish(const std::string& name, Versions versions) {
  std::lock_guard lock(publish_mutex_);
  auto next = std::make_shared<Table>(*table());
  (*next)[name] = std::move(versions);
  Swap(std::move(next));
}

void Router::Remove(const std::string& name) {
  std::lock_guard lock(publish_mutex_);
  auto next = std::make_shared<Table>(*table());
  next->erase(name);
  Swap(std::move(next));
}

}  // namespace sluice::serve
