#include "ullage/output_file.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

namespace ullage::apps {

namespace {

// By its name, or by that of what it links to.
bool is_of_checkpoint(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path target = std::filesystem::weakly_canonical(path, ignored);
  for (const std::string& name :
       {std::filesystem::path(path).filename().string(), target.filename().string()})
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
        name == "config.json")
      return true;
  return false;
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  if (path.starts_with("--"))
    return Error{Code::usage, "is an option, where the name of a file was to follow", path, "", ""};
  if (is_of_checkpoint(path))
    return Error{Code::usage, "is the name of a checkpoint's file, which no report replaces", path,
                 "", ""};
  return open_weights(path);
}

Result<OutputFile> OutputFile::open_weights(const std::string& path) {
  OutputFile out;
  if (path.empty()) return out;
  ULLAGE_ASSIGN(out.file_, report::AtomicFile::create(path));
  out.path_ = path;
  return out;
}

Status check_distinct(std::initializer_list<const OutputFile*> files) {
  std::set<std::string> seen;
  for (const OutputFile* file : files)
    if (file->wanted() && !seen.insert(file->path()).second)
      return Error{Code::usage, "two outputs were asked for under one name", file->path(), "", ""};
  return {};
}

Status commit_all(std::initializer_list<OutputFile*> files) {
  // Standard output and devices get their bytes now and may fail; a regular file only takes its name.
  const auto streams = [](const OutputFile& file) {
    std::error_code ignored;
    return file.is_stdout() || (std::filesystem::exists(file.path(), ignored) &&
                                !std::filesystem::is_regular_file(file.path(), ignored));
  };
  for (const bool first : {true, false})
    for (OutputFile* file : files)
      if (file->wanted() && streams(*file) == first) ULLAGE_TRY(file->commit());
  return {};
}

}  // namespace ullage::apps
