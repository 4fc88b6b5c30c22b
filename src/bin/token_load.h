// Loads a server that speaks OpenAI's API with streamed completions and tells what a reader sees:
// the time to the first token, between the others, tokens a second.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "bin/load.h"
#include "serve/client/url.h"

namespace sluice::bin {

struct TokenLoadOptions {
  serve::Url server;  // "/v1/completions" is asked below it
  std::string model;
  int64_t clients = 1;    // each asks its next request when its last one is answered
  int64_t requests = 32;  // in all
  int64_t prompt_tokens = 512;
  int64_t shared_tokens = 0;  // of them the first ones are those of every request
  int64_t answer_tokens = 64;
  int64_t id_max = 1000;  // prompts are drawn from tokens 3 to this one
  uint64_t seed = 1;
};

struct TokenLoadReport {
  LatencyHistogram first;    // from asking to the first piece of the answer
  LatencyHistogram between;  // from one piece to the next
  LatencyHistogram whole;    // from asking to the end
  LatencyHistogram token;    // behind the first token, of each answer: its time over its tokens
  int64_t answered = 0;
  int64_t failed = 0;
  int64_t prompt_tokens = 0;  // as the server counts them
  int64_t answer_tokens = 0;
  base::Duration took;
  std::string first_failure;
};

// kInvalidArgument for options out of range. Requests that fail are counted.
base::Result<TokenLoadReport> RunTokenLoad(const TokenLoadOptions& options);

}  // namespace sluice::bin
