// The names by which clients ask a language model for scores and embeddings; those of generating
// are lm/generation.h's.
#pragma once

#include <cstdint>

namespace sluice::lm {

// The parameter that says what is asked, and its values.
inline constexpr const char* kTask = "task";
inline constexpr const char* kTaskScore = "score";
inline constexpr const char* kTaskEmbed = "embed";

// Inputs: the items that are scored, as BYTES [n], or as I32 or I64 [sum] and their lengths [n];
// the lengths of the sequences in input_ids.
inline constexpr const char* kItems = "items";
inline constexpr const char* kItemIds = "item_ids";
inline constexpr const char* kItemLengths = "item_lengths";
inline constexpr const char* kLengths = "lengths";

// Outputs.
inline constexpr const char* kEmbedding = "embedding";  // F32 [n, columns]
inline constexpr const char* kScores = "scores";        // F32 [n or top_k, labels]
inline constexpr const char* kTopItems = "top_items";   // I32 [top_k], best first

// Items of one request.
inline constexpr int64_t kItemsMax = 4096;

}  // namespace sluice::lm
