// The section "post_processor" of a tokenizer.json.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "text/format/json_fields.h"
#include "text/format/sections.h"

namespace sluice::text {
namespace {

using base::JsonValue;
using base::Result;
using base::Status;

constexpr int64_t kPiecesMax = 64;  // of a template

// One element of a template: {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id":
// "[CLS]", "type_id": 0}}.
Result<TemplatePiece> ReadPiece(JsonValue element, JsonValue fixed_tokens) {
  TRY(CheckMembers(element, {"Sequence", "SpecialToken"}));
  TemplatePiece piece;
  const std::optional<JsonValue> sequence = TRY(element.Find("Sequence"));
  if (element.size() != 1) {
    return base::InvalidArgument("expected one of Sequence and SpecialToken in each piece");
  }
  const JsonValue body = sequence ? *sequence : TRY(element.Get("SpecialToken"));
  TRY(CheckMembers(body, {"id", "type_id"}));
  const JsonValue id_value = TRY(body.Get("id"));
  const std::string id(TRY(id_value.AsString()));
  piece.type_id = static_cast<int32_t>(TRY(IntOr(body, "type_id", 0, 0)));
  if (sequence) {
    if (id != "A" && id != "B") {
      return base::InvalidArgument("sequence '" + id + "', expected A or B");
    }
    piece.kind = id == "A" ? TemplatePiece::Kind::kFirst : TemplatePiece::Kind::kSecond;
    return piece;
  }
  piece.kind = TemplatePiece::Kind::kFixed;
  const JsonValue token = TRY(Within(fixed_tokens.Get(id), "special_tokens"));
  TRY(CheckMembers(token, {"id", "ids", "tokens"}));
  const JsonValue ids = TRY(token.Get("ids"));
  if (ids.size() > kPiecesMax) return base::InvalidArgument("too many ids of '" + id + "'");
  const auto add_id = [&](JsonValue value) -> Status {
    piece.ids.push_back(TRY(IdOf(value)));
    return base::Ok();
  };
  TRY(ids.ForEachElement(add_id));
  return piece;
}

Result<std::vector<TemplatePiece>> ReadPieces(JsonValue list, JsonValue fixed_tokens,
                                              int64_t texts) {
  if (list.size() > kPiecesMax) return base::InvalidArgument("too many pieces");
  std::vector<TemplatePiece> pieces;
  const auto add_piece = [&](JsonValue element) -> Status {
    pieces.push_back(TRY(ReadPiece(element, fixed_tokens)));
    return base::Ok();
  };
  TRY(list.ForEachElement(add_piece));
  const auto count = [&](TemplatePiece::Kind kind) {
    return std::count_if(pieces.begin(), pieces.end(),
                         [&](const TemplatePiece& piece) { return piece.kind == kind; });
  };
  if (count(TemplatePiece::Kind::kFirst) != 1 || count(TemplatePiece::Kind::kSecond) != texts - 1) {
    return base::InvalidArgument("expected each text exactly once in the template");
  }
  return pieces;
}

// BertProcessing: ["[SEP]", 102]
Result<TemplatePiece> ReadNamedId(JsonValue value) {
  TemplatePiece piece;
  piece.kind = TemplatePiece::Kind::kFixed;
  int index = 0;
  const auto add_element = [&](JsonValue element) -> Status {
    if (index == 1) piece.ids.push_back(TRY(IdOf(element)));
    ++index;
    return base::Ok();
  };
  TRY(value.ForEachElement(add_element));
  if (index != 2) return base::InvalidArgument("expected a token and its id");
  return piece;
}

// BertProcessing and RobertaProcessing: both know one token before the texts and one behind each.
Status ReadClassification(JsonValue value, bool roberta, TokenizerSpec& spec) {
  TRY(roberta ? CheckMembers(value, {"type", "sep", "cls", "trim_offsets", "add_prefix_space"})
              : CheckMembers(value, {"type", "sep", "cls"}));
  const JsonValue sep_value = TRY(value.Get("sep"));
  const JsonValue cls_value = TRY(value.Get("cls"));
  const TemplatePiece sep = TRY(Within(ReadNamedId(sep_value), "sep"));
  const TemplatePiece cls = TRY(Within(ReadNamedId(cls_value), "cls"));
  const TemplatePiece first{TemplatePiece::Kind::kFirst, {}, 0};
  // RobertaProcessing knows no second type, and puts two tokens between the texts.
  const int32_t second_type = roberta ? 0 : 1;
  const TemplatePiece second{TemplatePiece::Kind::kSecond, {}, second_type};
  TemplatePiece last = sep;
  last.type_id = second_type;
  spec.single = {cls, first, sep};
  spec.pair = roberta ? std::vector{cls, first, sep, sep, second, last}
                      : std::vector{cls, first, sep, second, last};
  return base::Ok();
}

Status ReadTemplate(JsonValue value, TokenizerSpec& spec) {
  TRY(CheckMembers(value, {"type", "single", "pair", "special_tokens"}));
  const JsonValue fixed_tokens = TRY(value.Get("special_tokens"));
  const JsonValue single = TRY(value.Get("single"));
  const JsonValue pair = TRY(value.Get("pair"));
  spec.single = TRY(Within(ReadPieces(single, fixed_tokens, 1), "single"));
  spec.pair = TRY(Within(ReadPieces(pair, fixed_tokens, 2), "pair"));
  return base::Ok();
}

// `adding` counts the steps that add tokens: a second one would see the first one's.
Status ReadStep(JsonValue value, int nesting, int& adding, TokenizerSpec& spec) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    if (nesting >= kNestingMax) return base::InvalidArgument("Sequences nest too deeply");
    TRY(CheckMembers(value, {"type", "processors"}));
    const JsonValue steps = TRY(value.Get("processors"));
    if (steps.size() > static_cast<int64_t>(kStepsMax)) {
      return base::InvalidArgument("too many processors");
    }
    return steps.ForEachElement(
        [&](JsonValue step) { return ReadStep(step, nesting + 1, adding, spec); });
  }
  if (type == "ByteLevel") {  // moves offsets only
    return CheckMembers(value, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }
  if (++adding > 1) {
    return base::Unimplemented("a Sequence with two processors that add tokens is not supported");
  }
  if (type == "TemplateProcessing") return ReadTemplate(value, spec);
  if (type == "BertProcessing") return ReadClassification(value, false, spec);
  if (type == "RobertaProcessing") return ReadClassification(value, true, spec);
  return base::Unimplemented("type '" + type + "' is not supported");
}

}  // namespace

Status ReadPostProcessor(JsonValue value, TokenizerSpec& spec) {
  int adding = 0;
  return ReadStep(value, 0, adding, spec);
}

}  // namespace sluice::text
