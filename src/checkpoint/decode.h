// Stored elements to numbers, by type. Exact, but for F64 into float, which is rounded to nearest.
#pragma once

#include <cstddef>
#include <span>

#include "ullage/base/result.h"
#include "ullage/checkpoint/dtype.h"

namespace ullage::checkpoint {

// `bytes` holds out.size() little-endian elements and is aligned to 8. The dtype must be is_real().
Status decode(Dtype dtype, std::span<const std::byte> bytes, std::span<float> out);
Status decode(Dtype dtype, std::span<const std::byte> bytes, std::span<double> out);

}  // namespace ullage::checkpoint
