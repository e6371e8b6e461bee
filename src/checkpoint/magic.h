// Files that are not safetensors, told apart by their first bytes, so that the error can say what they are.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "ullage/base/result.h"

namespace ullage::checkpoint {

inline constexpr std::size_t kMagicBytes = 24;  // the longest magic below

// An error that names the format when `start`, the first bytes of a file, are those of one that is known
// and not read. For files whose first 8 bytes are no header length: a length could look like a magic.
Status refuse_other_format(std::span<const unsigned char> start, const std::string& where);

}  // namespace ullage::checkpoint
