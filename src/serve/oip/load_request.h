// The JSON bodies of the repository's and shared memory's verbs.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/oip/shm_regions.h"
#include "serve/service.h"

namespace sluice::serve {

// {} or {"ready": bool}
base::Result<bool> ParseIndexRequest(std::string_view body);
// {"parameters": {"config": "<json>", "file:1/model.onnx": "<base64>"}}; files need a config, as in
// Triton.
base::Result<LoadOverride> ParseLoadRequest(std::string_view body, const ServerConfig& config);
// {"parameters": {"unload_dependents": bool}}
base::Status ParseUnloadRequest(std::string_view body);
base::Result<ShmRegions::Region> ParseShmRegistration(std::string_view body,
                                                      const std::string& name);

// Takes one parameter of a load request in either dialect; `value` is the file's bytes or the
// configuration.
base::Status TakeLoadParameter(std::string_view key, std::string value, LoadOverride& load);
// Files without a configuration are refused.
base::Status CheckLoad(const LoadOverride& load, const ServerConfig& config);

// RFC 4648 with padding; kInvalidArgument for anything else.
base::Result<std::string> DecodeBase64(std::string_view text);

}  // namespace sluice::serve
