#include "checkpoint/hub.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "checkpoint/file.h"

namespace ullage::checkpoint {
namespace {

constexpr std::uint64_t kMaxRefBytes = 256;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

// One part of a name or a revision: no slash, not hidden, no "..".
bool is_part(const std::string& text) {
  return !text.empty() && text.size() <= 128 && text.front() != '.' &&
         text.find("..") == std::string::npos && std::all_of(text.begin(), text.end(), is_plain);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  if (text == "~" || text.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    text.replace(0, 1, home == nullptr ? "" : home);
  }
  return text;
}

}  // namespace

bool is_hub_name(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return is_part(text);
  return is_part(text.substr(0, slash)) && is_part(text.substr(slash + 1));
}

std::string default_hub_cache() {
  struct Source {
    const char* variable;
    const char* below;
  };
  constexpr Source kSources[] = {{"HF_HUB_CACHE", ""},
                                 {"HUGGINGFACE_HUB_CACHE", ""},
                                 {"HF_HOME", "/hub"},
                                 {"XDG_CACHE_HOME", "/huggingface/hub"},
                                 {"HOME", "/.cache/huggingface/hub"}};
  for (const Source& source : kSources)
    if (const std::string value = variable(source.variable); !value.empty())
      return value + source.below;
  return {};
}

Result<std::string> hub_snapshot(const std::string& cache, const std::string& name) {
  std::string folder = "models--" + name;
  if (const std::size_t slash = folder.find('/'); slash != std::string::npos)
    folder.replace(slash, 1, "--");
  const std::string model = join_path(cache, folder);
  if (cache.empty() || kind_of(model) != PathKind::folder)
    return Error{
        Code::not_found,
        "no such file or folder, and no such model in the local Hugging Face cache; fetch it "
        "first (hf download ORG/NAME)",
        name,
        {},
        {}};
  const std::string snapshots = join_path(model, "snapshots");
  const std::string ref = join_path(model, "refs/main");
  if (entry_exists(ref)) {
    ULLAGE_ASSIGN(std::string revision, read_text(ref, kMaxRefBytes, ref, Code::not_readable));
    while (!revision.empty() &&
           (revision.back() == '\n' || revision.back() == '\r' || revision.back() == ' '))
      revision.pop_back();
    if (!is_part(revision))
      return Error{Code::path_escape, "the cache's refs/main holds no revision", ref, {}, {}};
    const std::string snapshot = join_path(snapshots, revision);
    if (kind_of(snapshot) == PathKind::folder) return snapshot;
    return Error{
        Code::not_found,
        "the cache lacks the revision that its refs/main names; fetch it (hf download ORG/NAME)",
        snapshot,
        {},
        {}};
  }
  ULLAGE_ASSIGN(const std::vector<std::string> revisions, list_folder(snapshots));
  if (revisions.size() == 1) return join_path(snapshots, revisions[0]);
  return Error{Code::not_found, "the cache has no refs/main: give the folder of one revision",
               snapshots, "one revision", std::to_string(revisions.size())};
}

}  // namespace ullage::checkpoint
