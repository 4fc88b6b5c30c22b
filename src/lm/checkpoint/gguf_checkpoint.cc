#include "lm/checkpoint/gguf_checkpoint.h"

#include <charconv>
#include <optional>
#include <string_view>

namespace sluice::lm {
namespace {

using tensor::GgufTensor;

struct Name {
  std::string_view ours, theirs;
};
constexpr Name kModelNames[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
};
// Gemma has a norm before and one behind each half of a layer. Others call the norm before the
// second half post_attention_layernorm, and have no post_attention_norm.
constexpr Name kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"gate_proj", "ffn_gate_exps"},
    {"up_proj", "ffn_up_exps"},
    {"down_proj", "ffn_down_exps"},
};

// Takes "NUMBER." from the front.
std::optional<int64_t> TakeNumber(std::string_view& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size() || *end != '.') return {};
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return number;
}

bool TakePrefix(std::string_view prefix, std::string_view& text) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Where a tensor lies: in the file's tensor of this name, or in its slice of one expert.
struct Place {
  std::string name;
  std::optional<int64_t> expert;
};
std::optional<Place> PlaceOf(std::string_view name, const tensor::Gguf& gguf) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view kind = name.substr(dot);  // ".weight"
  std::string_view module = name.substr(0, dot);
  for (const Name& known : kModelNames) {
    if (module == known.ours) return Place{std::string(known.theirs) + std::string(kind), {}};
  }
  if (!TakePrefix("model.layers.", module)) return {};
  const std::optional<int64_t> layer = TakeNumber(module);
  if (!layer.has_value()) return {};
  Place place;
  place.name = "blk." + std::to_string(*layer) + ".";
  if (TakePrefix("mlp.experts.", module)) {
    place.expert = TakeNumber(module);
    if (!place.expert.has_value()) return {};
  }
  if (module == "post_attention_layernorm") {
    const std::string outer = place.name + "post_attention_norm" + std::string(kind);
    if (gguf.FindTensor(outer) != nullptr) return Place{outer, {}};
  }
  for (const Name& known : kLayerNames) {
    if (module != known.ours) continue;
    place.name += std::string(known.theirs) + std::string(kind);
    return place;
  }
  return {};
}

}  // namespace

base::Result<StoredTensor> GgufCheckpoint::FindStored(const std::string& name) const {
  const std::optional<Place> place = PlaceOf(name, *gguf_);
  const GgufTensor* const found = place.has_value() ? gguf_->FindTensor(place->name) : nullptr;
  if (found == nullptr) {
    return base::NotFound("there is no tensor " + (place.has_value() ? place->name : name));
  }
  StoredTensor stored;
  stored.format = found->format;
  stored.shape = found->shape;
  const std::byte* data = found->data;
  int64_t bytes = found->bytes;
  if (place->expert.has_value()) {
    if (found->shape.rank() != 3 || *place->expert < 0 || *place->expert >= found->shape[0]) {
      return base::InvalidArgument("tensor " + place->name + ": expected a slice for expert " +
                                   std::to_string(*place->expert) + ", got " +
                                   found->shape.ToString());
    }
    stored.shape = tensor::Shape({found->shape[1], found->shape[2]});
    bytes /= found->shape[0];
    data += *place->expert * bytes;
  }
  stored.buffer = tensor::Buffer::Wrap(gguf_, data, bytes);
  stored.mapped = true;
  return stored;
}

base::Result<tensor::Tensor> GgufCheckpoint::Find(const std::string& name) const {
  StoredTensor stored = TRY(FindStored(name));
  const std::optional<tensor::DType> plain = tensor::PlainDType(stored.format);
  if (!plain.has_value()) {
    return base::Unimplemented("tensor " + name + ": expected F32, F16 or BF16, got blocks of " +
                               std::string(tensor::BlockFormatName(stored.format)));
  }
  tensor::Tensor tensor;
  tensor.dtype = *plain;
  tensor.shape = stored.shape;
  tensor.buffer = std::move(stored.buffer);
  return tensor;
}

}  // namespace sluice::lm
