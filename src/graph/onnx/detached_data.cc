#include "graph/onnx/detached_data.h"

#include <cstdint>

namespace sluice::graph {
namespace {

constexpr size_t kLarge = 64 << 10;
// Numbers of fields in onnx.proto.
constexpr uint64_t kModelGraph = 7;
constexpr uint64_t kGraphInitializer = 5;
constexpr uint64_t kTensorRawData = 9;

// One field of a message: its number, all of its bytes, and what a field of bytes holds.
struct Field {
  uint64_t number = 0;
  bool holds_bytes = false;
  std::string_view whole;
  std::string_view content;
};

bool TakeVarint(std::string_view& bytes, uint64_t& value) {
  constexpr int kBytesMax = 10;
  value = 0;
  for (int i = 0; i < kBytesMax && !bytes.empty(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

bool TakeField(std::string_view& bytes, Field& field) {
  enum : uint64_t { kVarint, kFixed64, kBytes, kFixed32 = 5 };
  const std::string_view start = bytes;
  uint64_t tag = 0, size = 0;
  if (!TakeVarint(bytes, tag)) return false;
  const uint64_t type = tag & 7;
  if (type == kVarint) {
    if (!TakeVarint(bytes, size)) return false;
    size = 0;
  } else if (type == kFixed64 || type == kFixed32) {
    size = type == kFixed64 ? 8 : 4;
  } else if (type != kBytes || !TakeVarint(bytes, size)) {
    return false;
  }
  if (size > bytes.size()) return false;
  field.number = tag >> 3;
  field.holds_bytes = type == kBytes;
  field.content = bytes.substr(0, size);
  bytes.remove_prefix(size);
  field.whole = start.substr(0, start.size() - bytes.size());
  return true;
}

void PutBytes(std::string& to, uint64_t number, std::string_view content) {
  const auto put = [&](uint64_t value) {
    for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>((value & 0x7f) | 0x80));
    to.push_back(static_cast<char>(value));
  };
  put(number << 3 | 2);
  put(content.size());
  to.append(content);
}

// The tensor without its raw data where these are large.
bool DetachTensor(std::string_view tensor, std::string& rest,
                  std::optional<std::string_view>& large) {
  int count = 0;
  Field field;
  while (!tensor.empty()) {
    if (!TakeField(tensor, field)) return false;
    if (field.number == kTensorRawData) {
      if (!field.holds_bytes || ++count > 1) return false;
      if (field.content.size() >= kLarge) {
        large = field.content;
        continue;
      }
    }
    rest.append(field.whole);
  }
  return true;
}

bool DetachGraph(std::string_view graph, DetachedData& detached, std::string& rest) {
  int index = 0;
  Field field;
  while (!graph.empty()) {
    if (!TakeField(graph, field)) return false;
    if (field.number != kGraphInitializer) {
      rest.append(field.whole);
      continue;
    }
    if (!field.holds_bytes) return false;
    std::string tensor;
    std::optional<std::string_view> large;
    if (field.content.size() < kLarge) {
      rest.append(field.whole);
    } else {
      if (!DetachTensor(field.content, tensor, large)) return false;
      PutBytes(rest, kGraphInitializer, tensor);
      if (large.has_value()) detached.large.emplace(index, *large);
    }
    ++index;
  }
  return true;
}

}  // namespace

std::optional<DetachedData> DetachLargeData(std::string_view model) {
  DetachedData detached;
  int graphs = 0;
  Field field;
  while (!model.empty()) {
    if (!TakeField(model, field)) return std::nullopt;
    if (field.number != kModelGraph) {
      detached.rest.append(field.whole);
      continue;
    }
    std::string graph;
    if (!field.holds_bytes || ++graphs > 1 || !DetachGraph(field.content, detached, graph)) {
      return std::nullopt;
    }
    PutBytes(detached.rest, kModelGraph, graph);
  }
  return detached;
}

}  // namespace sluice::graph
