// Files of other formats, told by their names: which they are and what the user can do. None is opened.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

// The refusal of a file that is named like a known format other than safetensors; nullopt for any other.
std::optional<Error> foreign_file(const std::string& path);

// Of a folder without safetensors weights: the refusal of what it holds instead, else "nothing here".
Error foreign_folder(const std::string& folder, const std::vector<std::string>& names);

}  // namespace ullage::checkpoint
