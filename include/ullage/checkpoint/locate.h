// From what the user typed to the files of one checkpoint: a folder, one .safetensors file, an
// index file, or ORG/NAME in the local Hugging Face cache. Formats that are not read (pickle, GGUF,
// LoRA adapters, TensorFlow, ...) are recognised by name and refused; their content is never
// opened.
#pragma once

#include <string>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

struct Location {
  std::string given;    // as the user wrote it
  std::string folder;   // where the files are
  std::string weights;  // path of the one .safetensors file; empty for a sharded set
  std::string index;    // path of the index file; empty for one file
  std::string config;   // path of config.json (it may not exist: reading it says so)
};

struct LocateOptions {
  // Replaces FOLDER/config.json when not empty.
  std::string config{};
  // Replaces $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub when not empty.
  std::string hub_cache{};
};

// Codes: usage (an empty path, or several candidates), not_found, not_readable, resource (no file
// can be opened), format_refused, path_escape (a damaged cache).
Result<Location> locate(const std::string& checkpoint, const LocateOptions& options = {});

}  // namespace ullage::checkpoint
