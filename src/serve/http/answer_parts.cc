#include "serve/http/answer_parts.h"

#include <charconv>

namespace sluice::serve {

void AnswerParts::Frame(std::string_view part, std::string& out) const {
  if (muted_ || part.empty()) return;
  if (framing_ != Framing::kChunks) {
    out += part;
    return;
  }
  char size[2 * sizeof(size_t)];
  const auto end = std::to_chars(size, size + sizeof size, part.size(), 16).ptr;
  out.append(size, end).append("\r\n").append(part).append("\r\n");
}

void AnswerParts::FrameEnd(std::string& out) {
  ended_ = true;
  if (!muted_ && framing_ == Framing::kChunks) out += "0\r\n\r\n";
}

}  // namespace sluice::serve
