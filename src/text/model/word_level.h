// The model whose words are its tokens.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "text/model/token_model.h"

namespace sluice::text {

// Immutable.
class WordLevel : public TokenModel {
 public:
  // kInvalidArgument: the unknown token is no entry.
  static base::Result<std::unique_ptr<const WordLevel>> Create(Vocabulary vocabulary,
                                                               const std::string& unknown_token);
  void Append(std::string_view word, std::vector<int32_t>& ids) const override {
    const int32_t id = vocabulary_.Find(word);
    ids.push_back(id == Vocabulary::kNone ? unknown_id_ : id);
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  WordLevel(Vocabulary vocabulary, int32_t unknown_id)
      : vocabulary_(std::move(vocabulary)), unknown_id_(unknown_id) {}

  Vocabulary vocabulary_;
  int32_t unknown_id_;
};

}  // namespace sluice::text
