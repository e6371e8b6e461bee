// The GPU's own conversion instructions, to compare ours with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage::cuda {

// Codes of the values by cvt with .satfinite, to nearest even (E8M0: up), all in device memory. *missing becomes 1
// where this GPU, or what the code was compiled for, has no such instruction.
Status hardware_cast(std::string_view format, const float* values, std::size_t count,
                     std::uint16_t* codes, int* missing);

}  // namespace ullage::cuda
