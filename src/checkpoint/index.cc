#include "ullage/checkpoint/index.h"

#include <map>

#include "checkpoint/json.h"

namespace ullage::checkpoint {
namespace {

constexpr std::size_t kMaxValues = 4'000'000;  // 2 million tensors
constexpr std::size_t kMaxNameLength = 1024;

Error escape_error(std::string_view name, const std::string& where, const char* what) {
  return {Code::path_escape, what, where, "a .safetensors file in this folder", std::string(name)};
}

}  // namespace

Result<std::string> checked_shard_name(std::string_view name, const std::string& where) {
  if (name.empty()) return Error{Code::index_invalid, "a shard has an empty name", where, {}, {}};
  if (name.size() > kMaxNameLength)
    return escape_error(name, where, "a shard has a name too long for a file");
  if (name.front() == '/' || name.find_first_of("\\:") != name.npos)
    return escape_error(name, where, "a shard's name must be relative to the folder of the index");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      return escape_error(name, where, "a shard's name holds a control character");
  std::string clean;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, slash - at);
    at = slash + 1;
    if (part == "..") return escape_error(name, where, "a shard's name would leave the folder");
    if (part.empty() || part == ".") continue;
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  if (clean.starts_with('~'))
    return escape_error(name, where, "a shard's name begins with the sign of a home folder");
  if (name.back() == '/' || !clean.ends_with(".safetensors")) {
    const bool pickle =
        clean.ends_with(".bin") || clean.ends_with(".pt") || clean.ends_with(".pth");
    return Error{pickle ? Code::format_refused : Code::index_invalid,
                 pickle ? "a shard is a pickle, which can run code and is never read"
                        : "a shard is not a .safetensors file",
                 where,
                 {},
                 std::string(name)};
  }
  return clean;
}

Result<ShardedIndex> parse_index(std::string json, const std::string& where) {
  ULLAGE_ASSIGN(JsonDocument parsed,
                JsonDocument::parse(std::move(json), where,
                                    {.code = Code::index_invalid, .values = kMaxValues}));
  ShardedIndex index;
  index.text = std::make_shared<const JsonDocument>(std::move(parsed));
  const JsonDocument& document = *index.text;
  if (document[0].kind != NodeKind::object)
    return Error{Code::index_invalid, "the index is not a JSON object", where, {}, {}};
  const std::uint32_t map = document.member(0, "weight_map");
  if (map == 0 || document[map].kind != NodeKind::object)
    return Error{Code::index_invalid, "the index has no weight_map object", where, {}, {}};
  if (document[map].next == map + 1)
    return Error{Code::index_invalid, "its weight_map names no tensor", where, {}, {}};
  // Names as the file spells them, so that each is checked once; then their normal forms, each once.
  std::map<std::string_view, std::uint32_t> spelled;
  std::map<std::string, std::uint32_t> shards;
  for (std::uint32_t key = map + 1; key < document[map].next; key = document[key + 1].next) {
    if (document[key + 1].kind != NodeKind::string)
      return Error{Code::index_invalid,
                   "its weight_map must give each tensor a file name",
                   where + ": " + std::string(document.text(key)),
                   {},
                   {}};
    const std::string_view name = document.text(key + 1);
    auto known = spelled.find(name);
    if (known == spelled.end()) {
      ULLAGE_ASSIGN(const std::string clean, checked_shard_name(name, where));
      const auto [shard, fresh] =
          shards.emplace(clean, static_cast<std::uint32_t>(index.shards.size()));
      if (fresh) index.shards.push_back(clean);
      if (index.shards.size() > kMaxShards)
        return Error{Code::index_invalid,
                     "it names too many files",
                     where,
                     "at most " + std::to_string(kMaxShards),
                     {}};
      known = spelled.emplace(name, shard->second).first;
    }
    index.weight_map.push_back({document.text(key), known->second});
  }
  return index;
}

}  // namespace ullage::checkpoint
