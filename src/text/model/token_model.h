// What a tokenizer's model does: turns words into ids. One model a file beside this one.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/model/vocabulary.h"

namespace sluice::text {

// Immutable; any thread may call it.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `word`, valid UTF-8 (any bytes where the model takes bytes) and not empty.
  virtual void Append(std::string_view word, std::vector<int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace sluice::text
