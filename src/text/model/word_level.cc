#include "text/model/word_level.h"

namespace sluice::text {

base::Result<std::unique_ptr<const WordLevel>> WordLevel::Create(Vocabulary vocabulary,
                                                                 const std::string& unknown_token) {
  const int32_t unknown_id = vocabulary.Find(unknown_token);
  if (unknown_id == Vocabulary::kNone) {
    return base::InvalidArgument("the unknown token '" + unknown_token +
                                 "' is not in the vocabulary");
  }
  return std::unique_ptr<const WordLevel>(new WordLevel(std::move(vocabulary), unknown_id));
}

}  // namespace sluice::text
