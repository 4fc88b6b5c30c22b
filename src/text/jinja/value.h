// The values that a template computes with, as Python sees them, and the workspace of one rendering
// that owns their memory and counts its limits. Operators and conversions stand in operators.h and
// print.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace sluice::text::jinja {

enum class Kind : uint8_t {
  kMissing,  // no value at all: an unset variable, an argument that was not passed
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,  // what keys(), values() and items() return
  kNamespace,
  kIterator,
  kLoop,
  kMacro,
  kFunction,
  kMethod,
  kCycler,
  kJoiner,
};

struct List;
struct Dict;
struct Range;
struct View;
struct Iterator;
struct LoopState;
struct Macro;
struct Method;
struct Cycler;
struct Joiner;

// Why a value is undefined: says how its name becomes a message.
enum class Undefinedness : uint8_t { kName, kAttribute, kHint, kUnsafe };
enum class Builtin : uint8_t {
  kRange,
  kDict,
  kNamespace,
  kCycler,
  kJoiner,
  kRaiseException,
  kStrftimeNow,
};

// Sixteen bytes, copied freely: what it points to belongs to the workspace, the template or the
// caller's JSON document, and never changes, except namespaces, iterators, cyclers and joiners.
struct Value {
  Kind kind = Kind::kMissing;
  bool markup = false;  // of a string: kMarkup of Python's markupsafe
  Undefinedness why = Undefinedness::kName;
  Builtin builtin = Builtin::kRange;
  uint32_t size = 0;  // of a string or an undefined value's name: bytes
  union {
    bool boolean;
    int64_t integer = 0;
    double real;
    const char* text;
    List* list;
    Dict* dict;
    Range* range;
    View* view;
    Iterator* iterator;
    LoopState* loop;
    Macro* macro;
    Method* method;
    Cycler* cycler;
    Joiner* joiner;
  };

  bool Is(Kind other) const { return kind == other; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_number() const {  // as Python: a bool is one
    return kind == Kind::kBool || kind == Kind::kInt || kind == Kind::kFloat;
  }
  bool is_integer() const { return kind == Kind::kBool || kind == Kind::kInt; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  std::string_view str() const { return {text, size}; }
  int64_t AsInteger() const { return kind == Kind::kBool ? (boolean ? 1 : 0) : integer; }
  double AsReal() const { return kind == Kind::kFloat ? real : static_cast<double>(AsInteger()); }

  static Value None() { return Of(Kind::kNone); }
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  // `text` is not copied; at most 4 GiB, which the workspace's limits keep.
  static Value String(std::string_view text, bool markup = false);
  static Value Undefined(std::string_view name, Undefinedness why);
  static Value Of(Kind kind) {
    Value value;
    value.kind = kind;
    return value;
  }
};
static_assert(sizeof(Value) == 16 && std::is_trivially_copyable_v<Value>);

struct List {
  Value* items = nullptr;  // [size]
  size_t size = 0;
};

struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
  int64_t size = 0;
};

enum class ViewKind : uint8_t { kKeys, kValues, kItems };
struct View {
  ViewKind kind = ViewKind::kKeys;
  Dict* dict = nullptr;
};

struct Method {
  Value self;
  std::string_view name;
};

struct Cycler {
  List items;
  size_t at = 0;
};

struct Joiner {
  Value separator;
  bool used = false;
};

struct Limits {
  int64_t steps_max = 20'000'000;        // nodes evaluated and items walked
  size_t bytes_max = size_t{256} << 20;  // of everything that a rendering makes
  size_t output_bytes_max = size_t{64} << 20;
  int depth_max = 800;  // of nodes within nodes, through macro calls as well
};

// The memory and the limits of one rendering, and why it failed. One thread. What is allocated goes
// with the workspace; nothing is destroyed before, and nothing in it needs a destructor.
class Workspace {
 public:
  explicit Workspace(const Limits& limits) : limits_(limits) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Keeps the first failure and returns false.
  bool Fail(std::string message, base::Code code = base::Code::kInvalidArgument);
  bool failed() const { return failed_; }
  const base::Error& error() const { return error_; }

  // Counts work; false, with a failure, beyond the limit.
  bool Charge(int64_t steps) {
    steps_ += steps;
    return steps_ <= limits_.steps_max ? true : FailSteps();
  }
  // False, with a failure, when `bytes` more do not fit.
  bool HasRoom(size_t bytes);

  // Null, with a failure, when there is no room.
  template <class T>
  T* NewArray(size_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (count > limits_.bytes_max / sizeof(T) + 1) {
      HasRoom(limits_.bytes_max + 1);
      return nullptr;
    }
    T* items = static_cast<T*>(Allocate(count * sizeof(T), alignof(T)));
    if (items != nullptr) std::uninitialized_value_construct_n(items, count);
    return items;
  }
  // For single small things: always succeeds; beyond the limit the rendering fails soon after.
  template <class T>
  T* New() {
    static_assert(std::is_trivially_destructible_v<T> && sizeof(T) <= 256);
    return new (AllocateSmall(sizeof(T), alignof(T))) T();
  }
  bool NewString(std::string_view text, Value& out, bool markup = false);
  bool NewList(size_t size, Value& out);  // of kMissing, to be filled
  bool NewTuple(size_t size, Value& out);
  bool NewListOf(const std::vector<Value>& items, Value& out);
  bool NewDict(size_t capacity, Value& out);
  // first + second. Grows in place where `first` is what was allocated last, so that text gathered
  // piece by piece costs its length.
  bool Concatenate(std::string_view first, std::string_view second, Value& out);

  const Limits& limits() const { return limits_; }
  uint32_t line = 0;       // of what is evaluated, for messages
  int iterator_depth = 0;  // iterators that are asked for an item by other ones

 private:
  bool FailSteps();
  void* Allocate(size_t bytes, size_t alignment);
  void* AllocateSmall(size_t bytes, size_t alignment);
  char* Bump(size_t bytes, size_t alignment);

  const Limits limits_;
  int64_t steps_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  char* end_ = nullptr;
  size_t bytes_ = 0;
  bool failed_ = false;
  base::Error error_;
};

// Ordered as things were put in. Small ones are searched, larger ones hashed.
struct Dict {
  struct Entry {
    Value key;
    Value value;
    uint64_t hash = 0;
  };
  Entry* entries = nullptr;
  uint32_t count = 0;
  uint32_t capacity = 0;
  uint32_t* index = nullptr;  // [index_size] of entry + 1, 0: free
  uint32_t index_size = 0;

  // Null when there is none, also for a key that cannot be one.
  const Value* Find(std::string_view key) const;
  const Value* Find(Workspace& work, const Value& key) const;
  // Fails on a key that is not hashable.
  bool Set(Workspace& work, const Value& key, const Value& value);

 private:
  uint32_t Seek(Workspace& work, const Value& key, uint64_t hash) const;  // count: absent
  bool Grow(Workspace& work);
  void AddToIndex(uint32_t entry);
};

bool IsHashable(const Value& value);
// Equal values have equal hashes.
uint64_t HashOf(Workspace& work, const Value& value, int depth = 0);

// Nesting that conversions and comparisons follow at most.
inline constexpr int kNestingMax = 200;

}  // namespace sluice::text::jinja
