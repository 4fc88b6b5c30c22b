// What the environment says about Hugging Face's hub, by the names that huggingface_hub gives it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "serve/client/url.h"

namespace sluice::bin {

struct HubSettings {
  std::string cache;     // HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub
  serve::Url endpoint;   // HF_ENDPOINT, else https://huggingface.co
  std::string token;     // HF_TOKEN, else what HF_TOKEN_PATH or HF_HOME/token holds; may be empty
  bool offline = false;  // HF_HUB_OFFLINE
  std::optional<serve::Url> proxy;  // HTTPS_PROXY or HTTP_PROXY; ALL_PROXY; NO_PROXY=*
  base::Duration timeout = base::Duration::Seconds(10);  // HF_HUB_DOWNLOAD_TIMEOUT, of each wait
};

// The value of an environment variable, null where it is not set.
using Environment = std::function<const char*(const char* name)>;

// kInvalidArgument names the variable that is wrong.
base::Result<HubSettings> ReadHubSettings(const Environment& environment);

}  // namespace sluice::bin
