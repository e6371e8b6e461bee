// model.safetensors.index.json: which shard holds which tensor of a sharded checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

class JsonDocument;

inline constexpr std::uint64_t kMaxIndexBytes = 100'000'000;
inline constexpr std::size_t kMaxShards = 10'000;  // the largest published sets have a few hundred

struct ShardedIndex {
  struct Entry {
    std::string_view tensor;  // into `text`
    std::uint32_t shard = 0;  // into `shards`
  };
  std::vector<std::string> shards;  // relative to the folder, normalised, each once
  std::vector<Entry> weight_map;    // in the order of the file, every tensor once
  std::shared_ptr<const JsonDocument> text;
};

// Checks the text of an index. Shard names must be .safetensors files that stay inside the folder.
// Codes: index_invalid, duplicate_key, and for names path_escape and format_refused (pickle).
Result<ShardedIndex> parse_index(std::string json, const std::string& where);

// "a/./x.safetensors" -> "a/x.safetensors"; path_escape for a name that could leave the folder (absolute,
// "..", "~", backslash, a scheme or drive, control characters), format_refused for a pickle's, index_invalid
// for one that is no .safetensors file.
Result<std::string> checked_shard_name(std::string_view name, const std::string& where);

}  // namespace ullage::checkpoint
