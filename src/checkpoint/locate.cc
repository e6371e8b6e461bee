#include "ullage/checkpoint/locate.h"

#include <vector>

#include "checkpoint/file.h"
#include "checkpoint/foreign.h"
#include "checkpoint/hub.h"
#include "ullage/base/path.h"

namespace ullage::checkpoint {
namespace {

constexpr std::string_view kWeights = ".safetensors";
constexpr std::string_view kIndex = ".safetensors.index.json";
constexpr std::string_view kScales =
    "ullage-scales-";  // written beside the weights by `ullage scales`

Error ambiguous(const std::string& folder, const std::string& first, const std::string& second,
                const char* why) {
  return {Code::usage,
          std::string(why) + ": give the one to scan as the checkpoint",
          folder,
          {},
          first + " and " + second};
}

// Weights or index of a folder. model.safetensors is what everyone writes; other names count only when
// there is one candidate.
Status choose(Location& location) {
  const std::string weights = join_path(location.folder, "model.safetensors");
  const std::string index = join_path(location.folder, "model.safetensors.index.json");
  const bool has_weights = entry_exists(weights), has_index = entry_exists(index);
  // Loaders disagree which of the two counts, so a guess could scan what is not served.
  if (has_weights && has_index)
    return ambiguous(location.folder, base_name(weights), base_name(index),
                     "the folder holds a whole model and an index of shards");
  if (has_index) location.index = index;
  if (has_weights) location.weights = weights;
  if (has_weights || has_index) return {};

  ULLAGE_ASSIGN(const std::vector<std::string> names, list_folder(location.folder));
  std::vector<std::string> indices, files;
  for (const std::string& name : names) {
    if (name.ends_with(kIndex)) indices.push_back(name);
    if (name.ends_with(kWeights) && !name.starts_with(kScales) && !foreign_file(name))
      files.push_back(name);
  }
  std::vector<std::string>& candidates = indices.empty() ? files : indices;
  if (candidates.size() > 1)
    return ambiguous(location.folder, candidates[0], candidates[1],
                     indices.empty() ? "several .safetensors files and no index that joins them"
                                     : "several indices of shards");
  if (candidates.empty()) return foreign_folder(location.folder, names);
  (indices.empty() ? location.weights : location.index) = join_path(location.folder, candidates[0]);
  return {};
}

Status take_file(Location& location, const std::string& path) {
  location.folder = folder_name(path);
  if (path.ends_with(kIndex)) {
    location.index = path;
  } else if (path.ends_with(kWeights)) {
    location.weights = path;
  } else if (const auto refusal = foreign_file(path)) {
    return *refusal;
  } else {
    return Error{
        Code::format_refused,
        "a checkpoint is a folder, a .safetensors file, an index of shards, or ORG/NAME in the "
        "local Hugging Face cache",
        path,
        {},
        {}};
  }
  return {};
}

}  // namespace

Result<Location> locate(const std::string& checkpoint, const LocateOptions& options) {
  if (checkpoint.empty() || checkpoint.find('\0') != std::string::npos)
    return Error{
        Code::usage, "the checkpoint's path is empty or holds a zero byte", "CHECKPOINT", {}, {}};
  Location location;
  location.given = checkpoint;
  const PathKind kind = kind_of(checkpoint);
  if (kind == PathKind::folder) {
    location.folder = checkpoint;
    ULLAGE_TRY(choose(location));
  } else if (kind != PathKind::absent || entry_exists(checkpoint)) {
    ULLAGE_TRY(take_file(location, checkpoint));
  } else if (is_hub_name(checkpoint)) {
    ULLAGE_ASSIGN(location.folder,
                  hub_snapshot(options.hub_cache.empty() ? default_hub_cache() : options.hub_cache,
                               checkpoint));
    ULLAGE_TRY(choose(location));
  } else {
    return Error{Code::not_found, "no such file or folder", checkpoint, {}, {}};
  }
  location.config =
      options.config.empty() ? join_path(location.folder, "config.json") : options.config;
  return location;
}

}  // namespace ullage::checkpoint
