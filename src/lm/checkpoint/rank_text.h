// Tiktoken's ranks in a model's folder, which do not say by themselves how words are cut and which
// special tokens there are: other files of the folder do.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "text/format/rank_family.h"
#include "text/format/vocabulary_files.h"

namespace sluice::lm {

struct RankFiles {
  std::string name;      // of the file of ranks
  std::string ranks;     // what is in it
  std::string settings;  // tokenizer_config.json; empty: there is none
  std::string config;    // config.json; empty: there is none
};

// By, in this order, `encoding_name` of tokenizer_config.json, the file's name, `tokenizer_class`
// of tokenizer_config.json, and `model_type` of config.json. kUnimplemented says what was looked
// for.
base::Result<const text::RankFamily*> RankFamilyOf(const RankFiles& files);

// The family's special tokens, or those of `added_tokens_decoder` in tokenizer_config.json.
base::Result<text::SharedTokenizer> ReadFolderRanks(const RankFiles& files);

}  // namespace sluice::lm
