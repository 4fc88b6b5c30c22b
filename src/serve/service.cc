#include "serve/service.h"

namespace sluice::serve {

bool IsModelName(std::string_view name) {
  if (name.empty() || name.size() > 128 || name[0] == '.') return false;
  for (char c : name) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '_' || c == '.' || c == '-';
    if (!plain) return false;
  }
  return true;
}

std::vector<std::string> ServerExtensions(const ServerConfig& config) {
  std::vector<std::string> names = {"classification",      "model_repository",   "schedule_policy",
                                    "model_configuration", "binary_tensor_data", "parameters",
                                    "statistics"};
  if (config.allow_client_shm) names.push_back("system_shared_memory");
  return names;
}

}  // namespace sluice::serve
