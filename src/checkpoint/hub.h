// The local Hugging Face cache: models--ORG--NAME/refs/main names a revision, snapshots/REVISION holds
// links to its files. Nothing is fetched.
#pragma once

#include <string>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

// "ORG/NAME" or "NAME" in the characters that the hub allows.
bool is_hub_name(const std::string& text);

// $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub: the first that is set.
std::string default_hub_cache();

// The folder of the revision that refs/main names (or of the only one there is).
Result<std::string> hub_snapshot(const std::string& cache, const std::string& name);

}  // namespace ullage::checkpoint
