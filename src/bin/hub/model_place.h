// What a verb's MODEL argument means: a folder here, or a name on Hugging Face's hub.
#pragma once

#include <string>

#include "base/result.h"

namespace sluice::bin {

struct ModelPlace {
  std::string folder;
  std::string file;  // the GGUF file to take; empty: whatever the folder holds
  std::string name;  // what it is served as: the last part of the folder's path or of ORG/NAME
};

// A folder; a .gguf file; or ORG/NAME[@REVISION], from the cache or else from the hub (which is
// told on standard error). `file`: --file, for repositories of GGUF files.
base::Result<ModelPlace> FindModel(const std::string& given, const std::string& file);

}  // namespace sluice::bin
