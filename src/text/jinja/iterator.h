// Walking over what Python can iterate.
#pragma once

#include <cstdint>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

class Evaluator;

enum class Step : uint8_t { kItem, kEnd, kFailed };

// What map, select and their like do to the items of another iterator, as they are asked for.
struct LazyFilter {
  enum class Kind : uint8_t { kMap, kSelect, kUnique } kind = Kind::kMap;
  Evaluator* evaluator = nullptr;
  Iterator* from = nullptr;
  std::string_view name;        // of the filter or the test; empty: none
  Value attribute;              // kMissing: the item itself
  Value fallback;               // of map's `default`
  bool negated = false;         // reject
  bool case_sensitive = false;  // of unique
  Value* arguments = nullptr;   // [argument_count]
  size_t argument_count = 0;
  Dict* keywords = nullptr;
  Dict* seen = nullptr;  // of unique
};

struct Iterator {
  Value source;           // kList, kTuple, kString, kDict, kView, kRange; kIterator: goes on there
  int64_t at = 0;         // an index; of a string: bytes
  bool reversed = false;  // a list, a range, a dict or a view from its end
  LazyFilter* lazy = nullptr;
};

// Fails on what cannot be iterated. An undefined value has no items.
bool StartIterator(Workspace& work, const Value& value, Iterator& out);
bool IsIterable(const Value& value);
Step NextItem(Workspace& work, Iterator& iterator, Value& out);
// Defined by the evaluator.
Step NextFiltered(LazyFilter& lazy, Value& out);
// The rest as a list.
bool Collect(Workspace& work, const Value& value, Value& out);

}  // namespace sluice::text::jinja
