// Takes the large data of a model file's initialisers out of its bytes before they are parsed: the
// protocol buffer's own parser would copy each into memory of small pages first.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::graph {

struct DetachedData {
  std::string rest;                       // the message without them
  std::map<int, std::string_view> large;  // raw data of initialisers by their place, in the bytes
};

// Wire format: https://protobuf.dev/programming-guides/encoding. nullopt where the bytes are no
// message that this reads, or hold a graph or an initialiser's data twice: they are for the parser.
std::optional<DetachedData> DetachLargeData(std::string_view model);

}  // namespace sluice::graph
