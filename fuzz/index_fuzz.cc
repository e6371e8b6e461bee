// Any bytes as an index of shards: refused with one line, or every shard is a plain name in the folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "ullage/checkpoint/index.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ullage::checkpoint;
  const auto index = parse_index(std::string(reinterpret_cast<const char*>(data), size), "fuzzed");
  if (!index.ok()) {
    const std::string line = index.error().message();
    require(!line.empty() && line.find('\n') == std::string::npos);
    return 0;
  }
  require(!index->weight_map.empty() && !index->shards.empty());
  for (const std::string& shard : index->shards) {
    require(shard.front() != '/' && shard.ends_with(".safetensors"));
    require(("/" + shard + "/").find("/../") == std::string::npos);
    require(shard.find('\0') == std::string::npos && shard.find('\\') == std::string::npos);
    const auto again = checked_shard_name(shard, "fuzzed");
    require(again.ok() && *again == shard);
  }
  std::set<std::string_view> names;
  for (const ShardedIndex::Entry& entry : index->weight_map) {
    require(entry.shard < index->shards.size());
    require(names.insert(entry.tensor).second);
  }
  return 0;
}
