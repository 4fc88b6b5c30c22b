#include "text/stream_decoder.h"

#include <optional>
#include <utility>

#include "base/utf8.h"
#include "text/unicode/byte_alphabet.h"

namespace sluice::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

base::Result<StreamDecoder> StreamDecoder::Create(std::shared_ptr<const Tokenizer> tokenizer,
                                                  bool skip_special) {
  const Decoder& decoder = tokenizer->decoder();
  StreamDecoder stream(std::move(tokenizer), skip_special);
  bool fused = false;
  for (const DecoderStep& step : decoder.steps) {
    if (!fused) ++stream.token_steps_;
    switch (step.kind) {
      case DecoderKind::kFuse:
      case DecoderKind::kByteLevel:
        if (fused && step.kind == DecoderKind::kByteLevel) {
          return base::Unimplemented("a decoder with ByteLevel behind Fuse cannot be streamed");
        }
        fused = true;
        break;
      case DecoderKind::kStrip:
        if (!fused) break;
        if (step.stop > 0 || stream.strip_left_ > 0) {
          return base::Unimplemented("a decoder with Strip at the text's end cannot be streamed");
        }
        stream.strip_ = step.text;
        stream.strip_left_ = step.start;
        break;
      case DecoderKind::kByteFallback:
        stream.byte_tokens_ = stream.byte_tokens_ || !fused;
        break;
      case DecoderKind::kSuffix:
        return base::Unimplemented("a BPEDecoder cannot be streamed");
      default:
        if (fused)
          return base::Unimplemented("a decoder with steps behind Fuse cannot be streamed");
    }
  }
  return stream;
}

base::Status StreamDecoder::Append(int32_t id, std::string& text) {
  if (skip_special_ && tokenizer_->is_special(id)) return base::Ok();
  const std::optional<std::string_view> token = tokenizer_->Token(id);
  if (!token) return base::Ok();
  const Decoder& decoder = tokenizer_->decoder();
  const bool first = std::exchange(first_, false);
  std::string piece(*token);
  if (decoder.joins_with_blanks && !first) piece.insert(piece.begin(), ' ');
  bool bytes = false;
  for (size_t i = 0; i < token_steps_; ++i) {
    const DecoderStep& step = decoder.steps[i];
    if (step.kind == DecoderKind::kFuse) continue;
    if (step.kind == DecoderKind::kByteFallback) {
      if (const std::optional<char> byte = ByteOfToken(piece)) {
        piece.assign(1, *byte);
        bytes = true;
        break;
      }
    } else if (step.kind == DecoderKind::kByteLevel) {
      std::optional<std::string> written = BytesOfAlphabet(piece);
      if (written) piece = std::move(*written);
      bytes = true;
    } else if (step.kind == DecoderKind::kCtc) {
      if (!first && piece == last_) return base::Ok();
      last_ = piece;
      TRY(DecodeToken(step, first, piece));
    } else {
      TRY(DecodeToken(step, first, piece));
    }
  }
  if (bytes) {
    AppendBytes(piece, text);
  } else {
    DropHeld(text);
    Emit(piece, text);
  }
  return base::Ok();
}

void StreamDecoder::AppendBytes(std::string_view bytes, std::string& text) {
  held_.append(bytes);
  size_t done = 0;
  while (done < held_.size()) {
    const base::Rune rune = base::DecodeRune(held_, done);
    const auto size = static_cast<size_t>(rune.bytes);
    if (rune.valid) {
      Emit(std::string_view(held_).substr(done, size), text);
    } else {
      // A part that reaches the end behind a lead byte may still be completed.
      const auto lead = static_cast<unsigned char>(held_[done]);
      if (done + size == held_.size() && lead >= 0xC2 && lead <= 0xF4) break;
      for (size_t i = 0; i < (byte_tokens_ ? size : 1); ++i) Emit(kReplacement, text);
    }
    done += size;
  }
  held_.erase(0, done);
}

void StreamDecoder::DropHeld(std::string& text) {
  if (held_.empty()) return;
  for (size_t i = 0; i < (byte_tokens_ ? held_.size() : 1); ++i) Emit(kReplacement, text);
  held_.clear();
}

void StreamDecoder::Emit(std::string_view part, std::string& text) {
  while (strip_left_ > 0 && !part.empty()) {
    if (part.substr(0, strip_.size()) != strip_) {
      strip_left_ = 0;
      break;
    }
    part.remove_prefix(strip_.size());
    --strip_left_;
  }
  text.append(part);
}

void StreamDecoder::Finish(std::string& text) {
  DropHeld(text);
}

std::string BytesOfToken(const Tokenizer& tokenizer, int32_t id) {
  const std::optional<std::string_view> token = tokenizer.Token(id);
  if (!token.has_value()) return {};
  std::string piece(*token);
  if (tokenizer.is_special(id)) return piece;
  if (tokenizer.decoder().joins_with_blanks) return " " + piece;
  for (const DecoderStep& step : tokenizer.decoder().steps) {
    if (step.kind == DecoderKind::kFuse) break;
    if (step.kind == DecoderKind::kByteFallback) {
      if (const std::optional<char> byte = ByteOfToken(piece)) return std::string(1, *byte);
    } else if (step.kind == DecoderKind::kByteLevel) {
      std::optional<std::string> written = BytesOfAlphabet(piece);
      return written ? *std::move(written) : piece;
    } else if (step.kind != DecoderKind::kCtc && step.kind != DecoderKind::kSuffix) {
      // A token that cannot be turned is shown as it is written.
      std::string turned = piece;
      if (!DecodeToken(step, false, turned).ok()) return piece;
      piece = std::move(turned);
    }
  }
  return piece;
}

}  // namespace sluice::text
