// What a reply of the engine says of the choices of an answer: texts, tokens, why they ended.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace sluice::serve {

// Views into the reply that it was read from.
struct SaidToken {
  std::string_view text;  // bytes: a token may be part of a character
  float logprob = std::numeric_limits<float>::quiet_NaN();       // NaN: none, of the first of all
  std::vector<std::pair<std::string_view, float>> alternatives;  // best first
};

// Part of one choice, or all of it.
struct Said {
  int64_t choice = 0;  // of its prompt's
  std::string_view text;
  std::string_view finish_reason;  // empty: more comes
  std::vector<SaidToken> tokens;   // where their texts came along
  int64_t token_count = 0;
};

// What an `answers`-fold reply holds: all choices where it is the last one, else a part of one.
std::vector<Said> ReadChoices(const engine::Reply& reply, int64_t answers);

// The tokens of the prompt, where they were asked for.
std::vector<SaidToken> ReadPromptTokens(const engine::Reply& reply);

// The text of the prompt's tokens.
std::string JoinTexts(const std::vector<SaidToken>& tokens);

// A counter among a reply's parameters; 0 when it is not there.
int64_t CountOf(const engine::Reply& reply, std::string_view name);

}  // namespace sluice::serve
