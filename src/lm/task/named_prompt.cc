#include "lm/task/named_prompt.h"

namespace sluice::lm {

base::Result<std::string> ReadNamedPrompt(const char* parameter, const SentenceModules& modules,
                                          ParameterReader& reader) {
  constexpr size_t kNameBytesMax = 256;
  std::string name = modules.prompt_default;
  TRY(reader.Text(parameter, kNameBytesMax, name));
  if (name.empty()) return std::string();
  std::string known;
  for (const auto& [own, text] : modules.prompts) {
    known += (known.empty() ? "" : ", ") + own;
    if (own != name) continue;
    if (!text.empty() && !modules.pools_prompt) {
      return base::Unimplemented(
          "include_prompt of the model's pooling is false: prompts are not "
          "built for it");
    }
    return text;
  }
  return base::InvalidArgument(std::string("parameter ") + parameter +
                               ": expected one of the model's prompts (" + known + "), got \"" +
                               name + "\"");
}

}  // namespace sluice::lm
