#include "serve/openai/unbuilt_fields.h"

#include <algorithm>
#include <array>
#include <string>

#include "serve/json_fields.h"

namespace sluice::serve {
namespace {

// Fields that change nothing about an answer here.
constexpr std::array kIgnored = {"user",
                                 "metadata",
                                 "store",
                                 "service_tier",
                                 "safety_identifier",
                                 "prompt_cache_key",
                                 "prompt_cache_retention",
                                 "prompt_cache_options",
                                 "parallel_tool_calls",
                                 "request_id"};
// Fields that would change the answer, with the values at which they do not.
struct Refused {
  const char* field;
  const char* harmless;       // as JSON; besides null
  const char* also = "null";  // another one
};
constexpr std::array kRefused = {
    Refused{"suffix", "\"\""}, Refused{"response_format", "{\"type\":\"text\"}"},
    Refused{"functions", "[]"}, Refused{"function_call", "\"none\""},
    Refused{"tool_choice", "\"auto\"", "\"none\""}, Refused{"prediction", "null"},
    Refused{"audio", "null"}, Refused{"modalities", "[\"text\"]"}, Refused{"moderation", "null"},
    Refused{"verbosity", "\"medium\""}, Refused{"web_search_options", "null"},
    Refused{"reasoning_effort", "\"none\""},
    // Not of the specification, but of servers that speak it.
    Refused{"min_tokens", "0"}, Refused{"return_tokens_as_token_ids", "false"},
    Refused{"return_token_ids", "false"}, Refused{"chat_template", "null"},
    Refused{"documents", "[]"}, Refused{"prompt_embeds", "null"}, Refused{"echo", "false"},
    Refused{"use_beam_search", "false"}, Refused{"length_penalty", "1.0", "1"},
    Refused{"bad_words", "[]"}, Refused{"allowed_token_ids", "[]"}, Refused{"prompt_logprobs", "0"},
    Refused{"include_stop_str_in_output", "false"}, Refused{"skip_special_tokens", "true"},
    Refused{"logits_processors", "[]"}, Refused{"structured_outputs", "{}"},
    Refused{"guided_json", "null"}, Refused{"guided_regex", "null"}, Refused{"guided_choice", "[]"},
    Refused{"guided_grammar", "null"}, Refused{"grammar", "\"\""}, Refused{"json_schema", "null"}};

}  // namespace

base::Result<bool> IsHarmless(std::string_view field, const base::JsonValue& value) {
  if (std::find(kIgnored.begin(), kIgnored.end(), field) != kIgnored.end()) return true;
  for (const Refused& refused : kRefused) {
    if (field != refused.field) continue;
    std::string json;
    TRY(CopyJson(value, json));
    if (json == "null" || json == refused.harmless || json == refused.also) return true;
    return base::Unimplemented("'" + std::string(field) + "' is not supported here");
  }
  return false;
}

}  // namespace sluice::serve
