// SentencePiece's `tokenizer.model`: a protobuf message (sentencepiece_model.proto), read field by
// field.
#include <cstring>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "text/format/json_fields.h"
#include "text/format/piece_list.h"
#include "text/format/vocabulary_files.h"
#include "text/format/wire_reader.h"

namespace sluice::text {
namespace {

using base::Result;
using base::Status;

// Field numbers of the messages.
enum ModelField : uint32_t { kPieces = 1, kTrainer = 2, kNormalizer = 3 };
enum PieceField : uint32_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : uint32_t {
  kModelType = 3,
  kSuffixSpace = 24,
  kByteFallback = 35,
  kBeginId = 41,
  kEndId = 42,
};
enum NormalizerField : uint32_t {
  kCharsmapBytes = 2,
  kDummyPrefix = 3,
  kExtraSpaces = 4,
  kEscapeSpaces = 5,
};
constexpr uint64_t kUnigramModel = 1;
constexpr uint64_t kBytePairModel = 2;

struct File {
  PieceList list;
  uint64_t model_type = kUnigramModel;
  int64_t begin_id = 1;
  int64_t end_id = 2;
  NormalizerStep normalizer{NormalizerKind::kSentencePiece};
};

Status ReadPiece(std::string_view message, PieceList& list) {
  if (list.pieces.size() >= Vocabulary::kTokensMax) return base::InvalidArgument("too many pieces");
  Piece piece;
  WireReader reader(message);
  while (!reader.done()) {
    const WireField field = TRY(reader.Next());
    if (field.number == kText) {
      piece.text = TRY(field.Bytes());
    } else if (field.number == kScore) {
      piece.score = TRY(field.Float());
    } else if (field.number == kType) {
      const uint64_t type = TRY(field.Varint());
      if (type < 1 || type > 6) {
        return base::InvalidArgument("a piece's type is " + std::to_string(type) +
                                     ", expected 1 to 6");
      }
      piece.type = static_cast<PieceType>(type);
    }
  }
  if (!base::IsValidUtf8(piece.text)) return base::InvalidArgument("a piece is not valid UTF-8");
  if (piece.type == PieceType::kUnused) {
    return base::Unimplemented("piece '" + std::string(piece.text) +
                               "' is of type UNUSED, which is not supported");
  }
  list.pieces.push_back(piece);
  return base::Ok();
}

Status ReadTrainer(std::string_view message, File& file) {
  WireReader reader(message);
  while (!reader.done()) {
    const WireField field = TRY(reader.Next());
    switch (field.number) {
      case kModelType:
        file.model_type = TRY(field.Varint());
        break;
      case kSuffixSpace:
        if (TRY(field.Varint()) != 0) {
          return base::Unimplemented("treat_whitespace_as_suffix is not supported");
        }
        break;
      case kByteFallback:
        file.list.byte_fallback = TRY(field.Varint()) != 0;
        break;
      case kBeginId:
        file.begin_id = static_cast<int64_t>(TRY(field.Varint()));
        break;
      case kEndId:
        file.end_id = static_cast<int64_t>(TRY(field.Varint()));
        break;
      default:
        break;
    }
  }
  return base::Ok();
}

Status ReadNormalizerSpec(std::string_view message, NormalizerStep& step) {
  WireReader reader(message);
  while (!reader.done()) {
    const WireField field = TRY(reader.Next());
    switch (field.number) {
      case kCharsmapBytes: {
        const std::string_view bytes = TRY(field.Bytes());
        if (bytes.empty()) break;
        step.charsmap = std::make_shared<const Charsmap>(TRY(Charsmap::Parse(bytes)));
        break;
      }
      case kDummyPrefix:
        step.sentence_piece.add_dummy_prefix = TRY(field.Varint()) != 0;
        break;
      case kExtraSpaces:
        step.sentence_piece.remove_extra_whitespaces = TRY(field.Varint()) != 0;
        break;
      case kEscapeSpaces:
        step.sentence_piece.escape_whitespaces = TRY(field.Varint()) != 0;
        break;
      default:
        break;
    }
  }
  return base::Ok();
}

Result<File> ReadFields(std::string_view bytes) {
  File file;
  WireReader reader(bytes);
  while (!reader.done()) {
    const WireField field = TRY(reader.Next());
    if (field.number == kPieces) {
      const std::string_view message = TRY(field.Bytes());
      TRY(Within(ReadPiece(message, file.list),
                 "piece " + std::to_string(file.list.pieces.size())));
    } else if (field.number == kTrainer) {
      const std::string_view message = TRY(field.Bytes());
      TRY(Within(ReadTrainer(message, file), "trainer_spec"));
    } else if (field.number == kNormalizer) {
      const std::string_view message = TRY(field.Bytes());
      TRY(Within(ReadNormalizerSpec(message, file.normalizer), "normalizer_spec"));
    }
  }
  return file;
}

Result<int32_t> FixedId(int64_t id, const PieceList& list, const char* name) {
  if (id < 0 || id >= static_cast<int64_t>(list.pieces.size())) {
    return base::InvalidArgument(std::string("the file has no ") + name + " piece");
  }
  return static_cast<int32_t>(id);
}

}  // namespace

Result<SharedTokenizer> ReadSentencePiece(std::string_view bytes,
                                          const FixedTokenOptions& options) {
  if (bytes.size() > static_cast<size_t>(Tokenizer::kFileBytesMax)) {
    return base::ResourceExhausted("a SentencePiece model of " + std::to_string(bytes.size()) +
                                   " bytes is longer than the limit of " +
                                   std::to_string(Tokenizer::kFileBytesMax));
  }
  File file = TRY(Within(ReadFields(bytes), "SentencePiece model"));
  if (file.list.pieces.empty()) return base::InvalidArgument("SentencePiece model: no pieces");
  if (file.model_type != kUnigramModel && file.model_type != kBytePairModel) {
    return base::Unimplemented("SentencePiece model: model_type " +
                               std::to_string(file.model_type) +
                               " is not supported, only unigram (1) and BPE (2)");
  }
  TokenizerSpec spec;
  spec.decoder = PieceDecoder(file.normalizer.sentence_piece.add_dummy_prefix);
  spec.normalizer.steps.push_back(std::move(file.normalizer));
  AddTypedTokens(file.list, spec);
  int32_t begin_id = 0;
  int32_t end_id = 0;
  if (options.add_begin) begin_id = TRY(FixedId(file.begin_id, file.list, "begin-of-text"));
  if (options.add_end) end_id = TRY(FixedId(file.end_id, file.list, "end-of-text"));
  AddFixedTokens(options.add_begin ? &begin_id : nullptr, options.add_end ? &end_id : nullptr,
                 spec);
  auto model = file.model_type == kBytePairModel ? MakeScoredBytePair(file.list)
                                                 : MakeScoredUnigram(file.list);
  return Tokenizer::Create(std::move(spec), TRY(Within(std::move(model), "SentencePiece model")));
}

}  // namespace sluice::text
