// What every verb does with its arguments: help, parsing, and how errors are told.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bin/flags.h"

namespace sluice::bin {

// Prints help and sets `exit_code` 0, or an error and 2; else gives the positional arguments, of
// which there must be at least `least` and at most `most`.
std::optional<std::vector<std::string>> ParseCommand(const Usage& usage,
                                                     const std::vector<Flag>& flags,
                                                     const std::vector<std::string>& arguments,
                                                     size_t least, size_t most, int& exit_code);

// "sluice VERB: CODE: message" on standard error; exit code 1.
int Fail(const Usage& usage, const base::Error& error);

}  // namespace sluice::bin
