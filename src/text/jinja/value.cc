#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>

#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

constexpr size_t kBlockBytesMin = 16 << 10;
constexpr size_t kBlockBytesMax = 1 << 20;
constexpr uint32_t kSearchedMax = 8;  // entries of a dict that is searched, not hashed

uint64_t Mix(uint64_t bits) {
  bits ^= bits >> 33;
  bits *= 0xFF51AFD7ED558CCDull;
  bits ^= bits >> 33;
  return bits;
}

}  // namespace

Value Value::Bool(bool value) {
  Value out = Of(Kind::kBool);
  out.boolean = value;
  return out;
}

Value Value::Int(int64_t value) {
  Value out = Of(Kind::kInt);
  out.integer = value;
  return out;
}

Value Value::Float(double value) {
  Value out = Of(Kind::kFloat);
  out.real = value;
  return out;
}

Value Value::String(std::string_view text, bool markup) {
  Value out = Of(Kind::kString);
  out.markup = markup;
  out.size = static_cast<uint32_t>(text.size());
  out.text = text.data();
  return out;
}

Value Value::Undefined(std::string_view name, Undefinedness why) {
  Value out = Of(Kind::kUndefined);
  out.why = why;
  out.size = static_cast<uint32_t>(name.size());
  out.text = name.data();
  return out;
}

bool Workspace::Fail(std::string message, base::Code code) {
  if (!failed_) {
    failed_ = true;
    error_ = {code, "template line " + std::to_string(line) + ": " + std::move(message)};
  }
  return false;
}

bool Workspace::FailSteps() {
  return Fail("more than " + std::to_string(limits_.steps_max) + " steps",
              base::Code::kResourceExhausted);
}

bool Workspace::HasRoom(size_t bytes) {
  if (bytes <= limits_.bytes_max - std::min(bytes_, limits_.bytes_max)) return true;
  return Fail("more than " + std::to_string(limits_.bytes_max) + " bytes of memory",
              base::Code::kResourceExhausted);
}

char* Workspace::Bump(size_t bytes, size_t alignment) {
  auto address = reinterpret_cast<uintptr_t>(at_);
  const size_t skip = (alignment - address % alignment) % alignment;
  if (at_ == nullptr || static_cast<size_t>(end_ - at_) < bytes + skip) {
    const size_t usual =
        std::min(kBlockBytesMax, kBlockBytesMin << std::min<size_t>(blocks_.size(), 8));
    const size_t size = std::max(usual, bytes + alignment);
    blocks_.emplace_back(new char[size]);
    bytes_ += size;
    at_ = blocks_.back().get();
    end_ = at_ + size;
    address = reinterpret_cast<uintptr_t>(at_);
    at_ += (alignment - address % alignment) % alignment;
  } else {
    at_ += skip;
  }
  return std::exchange(at_, at_ + bytes);
}

void* Workspace::Allocate(size_t bytes, size_t alignment) {
  return HasRoom(bytes) ? Bump(bytes, alignment) : nullptr;
}

void* Workspace::AllocateSmall(size_t bytes, size_t alignment) {
  HasRoom(bytes);
  return Bump(bytes, alignment);
}

bool Workspace::NewString(std::string_view text, Value& out, bool markup) {
  char* copy = static_cast<char*>(Allocate(text.size(), 1));
  if (copy == nullptr) return false;
  if (!text.empty()) std::memcpy(copy, text.data(), text.size());
  out = Value::String({copy, text.size()}, markup);
  return true;
}

bool Workspace::Concatenate(std::string_view first, std::string_view second, Value& out) {
  if (first.data() + first.size() == at_ && static_cast<size_t>(end_ - at_) >= second.size() &&
      !first.empty()) {
    if (!second.empty()) std::memcpy(at_, second.data(), second.size());
    at_ += second.size();
    out = Value::String({first.data(), first.size() + second.size()});
    return true;
  }
  const size_t size = first.size() + second.size();
  // Room to grow, where this is large and may be gathered piece by piece.
  const size_t room = size > 4096 ? size / 2 : 0;
  if (!HasRoom(size + room)) return false;
  char* copy = Bump(size + room, 1);
  if (!first.empty()) std::memcpy(copy, first.data(), first.size());
  if (!second.empty()) std::memcpy(copy + first.size(), second.data(), second.size());
  at_ = copy + size;
  out = Value::String({copy, size});
  return true;
}

bool Workspace::NewList(size_t size, Value& out) {
  Value made = Value::Of(Kind::kList);
  made.list = New<List>();
  made.list->items = NewArray<Value>(size);
  if (made.list->items == nullptr) return false;
  made.list->size = size;
  out = made;
  return true;
}

bool Workspace::NewTuple(size_t size, Value& out) {
  if (!NewList(size, out)) return false;
  out.kind = Kind::kTuple;
  return true;
}

bool Workspace::NewListOf(const std::vector<Value>& items, Value& out) {
  Value made;
  if (!NewList(items.size(), made)) return false;
  std::copy(items.begin(), items.end(), made.list->items);
  out = made;
  return true;
}

bool Workspace::NewDict(size_t capacity, Value& out) {
  Value made = Value::Of(Kind::kDict);
  made.dict = New<Dict>();
  if (capacity > 0) {
    made.dict->entries = NewArray<Dict::Entry>(capacity);
    if (made.dict->entries == nullptr) return false;
    made.dict->capacity = static_cast<uint32_t>(capacity);
  }
  out = made;
  return true;
}

bool IsHashable(const Value& value) {
  if (value.Is(Kind::kTuple)) {
    for (size_t i = 0; i < value.list->size; ++i) {
      const Value& item = value.list->items[i];
      // A tuple within a tuple is followed once more; deeper ones are not worth a walk.
      if (item.Is(Kind::kTuple) ? false : !IsHashable(item)) return false;
    }
    return true;
  }
  return !value.Is(Kind::kList) && !value.Is(Kind::kDict) && !value.Is(Kind::kView) &&
         !value.Is(Kind::kMissing);
}

uint64_t HashOf(Workspace& work, const Value& value, int depth) {
  switch (value.kind) {
    case Kind::kString:
      return Mix(std::hash<std::string_view>()(value.str()));
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: {
      const double real = value.AsReal();
      uint64_t bits = 0;
      if (real != 0) std::memcpy(&bits, &real, sizeof(bits));
      return Mix(bits);
    }
    case Kind::kTuple: {
      uint64_t hash = 7;
      if (depth > 4 || !work.Charge(static_cast<int64_t>(value.list->size))) return hash;
      for (size_t i = 0; i < value.list->size; ++i) {
        hash = Mix(hash * 31 + HashOf(work, value.list->items[i], depth + 1));
      }
      return hash;
    }
    default:
      return static_cast<uint64_t>(value.kind);
  }
}

const Value* Dict::Find(std::string_view key) const {
  if (index == nullptr) {
    for (uint32_t i = 0; i < count; ++i) {
      const Value& other = entries[i].key;
      if (other.is_string() && other.str() == key) return &entries[i].value;
    }
    return nullptr;
  }
  const uint64_t hash = Mix(std::hash<std::string_view>()(key));
  for (uint64_t at = hash;; ++at) {
    const uint32_t slot = index[at & (index_size - 1)];
    if (slot == 0) return nullptr;
    const Entry& entry = entries[slot - 1];
    if (entry.hash == hash && entry.key.is_string() && entry.key.str() == key) return &entry.value;
  }
}

uint32_t Dict::Seek(Workspace& work, const Value& key, uint64_t hash) const {
  if (index == nullptr) {
    for (uint32_t i = 0; i < count; ++i) {
      if (entries[i].hash == hash && Equal(work, entries[i].key, key)) return i;
    }
    return count;
  }
  for (uint64_t at = hash;; ++at) {
    const uint32_t slot = index[at & (index_size - 1)];
    if (slot == 0) return count;
    const Entry& entry = entries[slot - 1];
    if (!work.Charge(1)) return count;
    if (entry.hash == hash && Equal(work, entry.key, key)) return slot - 1;
  }
}

const Value* Dict::Find(Workspace& work, const Value& key) const {
  if (key.is_string()) return Find(key.str());
  if (!IsHashable(key)) return nullptr;
  const uint32_t found = Seek(work, key, HashOf(work, key));
  return found == count ? nullptr : &entries[found].value;
}

void Dict::AddToIndex(uint32_t entry) {
  uint64_t at = entries[entry].hash;
  while (index[at & (index_size - 1)] != 0) ++at;
  index[at & (index_size - 1)] = entry + 1;
}

bool Dict::Grow(Workspace& work) {
  const uint32_t wanted = capacity == 0 ? 4 : capacity * 2;
  Entry* larger = work.NewArray<Entry>(wanted);
  if (larger == nullptr) return false;
  std::copy(entries, entries + count, larger);
  entries = larger;
  capacity = wanted;
  return true;
}

bool Dict::Set(Workspace& work, const Value& key, const Value& value) {
  if (!IsHashable(key)) return work.Fail("expected a hashable key of a dict, got a list or a dict");
  const uint64_t hash = HashOf(work, key);
  const uint32_t found = Seek(work, key, hash);
  if (work.failed()) return false;
  if (found < count) {
    entries[found].value = value;
    return true;
  }
  if (count == capacity && !Grow(work)) return false;
  entries[count++] = {key, value, hash};
  if (count <= kSearchedMax) return true;
  if (index == nullptr || count * 2 > index_size) {
    uint32_t size = 32;
    while (size < capacity * 2) size *= 2;
    uint32_t* slots = work.NewArray<uint32_t>(size);
    if (slots == nullptr) return false;
    index = slots;
    index_size = size;
    for (uint32_t i = 0; i < count; ++i) AddToIndex(i);
  } else {
    AddToIndex(count - 1);
  }
  return true;
}

}  // namespace sluice::text::jinja
