#include "lm/checkpoint/llama2c.h"

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

namespace sluice::lm {
namespace {

constexpr uint32_t kMagic = 0x616b3432;  // "ak42", before a version number
constexpr int64_t kVersionedHeader = 256;
constexpr int64_t kLegacyHeader = 28;
// More than any model of the format has; keeps products of sizes within 64 bits.
constexpr int32_t kSizeMax = 1 << 24;

struct Header {
  bool legacy = false;
  bool tied = false;
  std::array<int32_t, 7> sizes = {};  // dim, hidden, layers, heads, key heads, vocabulary, context
};

base::Result<Header> ReadHeader(std::span<const std::byte> bytes, const std::string& name) {
  if (static_cast<int64_t>(bytes.size()) < kVersionedHeader) {
    return base::InvalidArgument(name + ": expected a llama2.c checkpoint, got a file of " +
                                 std::to_string(bytes.size()) + " bytes");
  }
  uint32_t magic = 0;
  std::memcpy(&magic, bytes.data(), sizeof(magic));
  Header header;
  header.legacy = magic != kMagic;
  std::memcpy(header.sizes.data(), bytes.data() + (header.legacy ? 0 : 8), 28);
  if (header.legacy) {
    // A negative vocabulary says that the head is a matrix of its own.
    header.tied = header.sizes[5] > 0;
    header.sizes[5] = std::abs(header.sizes[5]);
  } else {
    int32_t version = 0;
    std::memcpy(&version, bytes.data() + 4, sizeof(version));
    if (version != 1) {
      return base::Unimplemented(name + ": llama2.c version " + std::to_string(version) +
                                 "; versions 0 and 1 are read");
    }
    header.tied = std::to_integer<int>(bytes[36]) != 0;
  }
  for (const int32_t size : header.sizes) {
    if (size < 1 || size > kSizeMax) {
      return base::InvalidArgument(name + ": expected a llama2.c checkpoint, got a header with a " +
                                   "size of " + std::to_string(size));
    }
  }
  if (header.sizes[0] % header.sizes[3] != 0 || header.sizes[3] % header.sizes[4] != 0) {
    return base::InvalidArgument(name + ": " + std::to_string(header.sizes[3]) +
                                 " heads do not divide a width of " +
                                 std::to_string(header.sizes[0]) + ", or " +
                                 std::to_string(header.sizes[4]) + " key heads the heads");
  }
  return header;
}

// Takes tensors one behind the other.
class Reader {
 public:
  Reader(std::shared_ptr<const base::MappedFile> file, int64_t offset)
      : file_(std::move(file)), offset_(offset) {}

  // False when the file ends before.
  bool Take(const tensor::Shape& shape, tensor::Tensor& out) {
    const int64_t bytes = shape.elements() * static_cast<int64_t>(sizeof(float));
    if (bytes > file_->size() - offset_) return false;
    out.shape = shape;
    out.buffer = tensor::Buffer::Wrap(file_, file_->data() + offset_, bytes);
    offset_ += bytes;
    return true;
  }
  bool Skip(int64_t floats) {
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    if (bytes > file_->size() - offset_) return false;
    offset_ += bytes;
    return true;
  }
  int64_t left() const { return file_->size() - offset_; }

 private:
  std::shared_ptr<const base::MappedFile> file_;
  int64_t offset_;
};

DecoderConfig ConfigOf(const Header& header) {
  DecoderConfig config;
  config.hidden = header.sizes[0];
  config.feed_forward = header.sizes[1];
  config.layers = header.sizes[2];
  config.heads = header.sizes[3];
  config.key_heads = header.sizes[4];
  config.vocabulary = header.sizes[5];
  config.context_max = header.sizes[6];
  config.head_dim = config.hidden / config.heads;
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.tied_head = header.tied;
  config.rotary.turned = config.head_dim;
  config.rotary.interleaved = true;
  return config;
}

struct Part {
  const char* name;  // of a layer's module, or of the model's
  tensor::Shape shape;
  bool of_layer;
};

}  // namespace

base::Result<Llama2cCheckpoint> Llama2cCheckpoint::Open(const std::string& path) {
  auto file = std::make_shared<base::MappedFile>(TRY(base::MappedFile::Open(path)));
  const Header header = TRY(ReadHeader(file->bytes(), path));
  Llama2cCheckpoint checkpoint;
  checkpoint.config_ = ConfigOf(header);
  const DecoderConfig& c = checkpoint.config_;
  const int64_t keys = c.key_heads * c.head_dim;
  const Part embedding = {"model.embed_tokens", {c.vocabulary, c.hidden}, false};
  const Part norms[] = {{"input_layernorm", {c.hidden}, true},
                        {"post_attention_layernorm", {c.hidden}, true},
                        {"model.norm", {c.hidden}, false}};
  const Part attention[] = {{"self_attn.q_proj", {c.hidden, c.hidden}, true},
                            {"self_attn.k_proj", {keys, c.hidden}, true},
                            {"self_attn.v_proj", {keys, c.hidden}, true},
                            {"self_attn.o_proj", {c.hidden, c.hidden}, true}};
  const Part feed_forward[] = {{"mlp.gate_proj", {c.feed_forward, c.hidden}, true},
                               {"mlp.down_proj", {c.hidden, c.feed_forward}, true},
                               {"mlp.up_proj", {c.feed_forward, c.hidden}, true}};
  std::vector<Part> order;
  if (header.legacy) {
    order = {embedding, norms[0]};
    order.insert(order.end(), std::begin(attention), std::end(attention));
    order.push_back(norms[1]);
    order.insert(order.end(), std::begin(feed_forward), std::end(feed_forward));
    order.push_back(norms[2]);
  } else {
    order.assign(std::begin(norms), std::end(norms));
    order.push_back(embedding);
    order.insert(order.end(), std::begin(attention), std::end(attention));
    order.insert(order.end(), std::begin(feed_forward), std::end(feed_forward));
  }
  Reader reader(file, header.legacy ? kLegacyHeader : kVersionedHeader);
  const auto too_short = [&](const std::string& name) {
    return base::InvalidArgument(path + ": the file ends inside of " + name);
  };
  for (const Part& part : order) {
    for (int64_t layer = 0; layer < (part.of_layer ? c.layers : 1); ++layer) {
      const std::string name =
          (part.of_layer ? "model.layers." + std::to_string(layer) + "." : std::string()) +
          part.name + ".weight";
      if (!reader.Take(part.shape, checkpoint.tensors_[name])) return too_short(name);
    }
  }
  // Cosines and sines, which are computed here.
  if (header.legacy && !reader.Skip(c.context_max * c.head_dim)) return too_short("the angles");
  if (!header.tied &&
      !reader.Take({c.vocabulary, c.hidden}, checkpoint.tensors_["lm_head.weight"])) {
    return too_short("lm_head.weight");
  }
  if (reader.left() != 0) {
    return base::InvalidArgument(path + ": expected the end of the file behind the last tensor, " +
                                 "got " + std::to_string(reader.left()) + " bytes more");
  }
  return checkpoint;
}

base::Result<tensor::Tensor> Llama2cCheckpoint::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return base::NotFound("there is no tensor " + name);
  return found->second;
}

}  // namespace sluice::lm
