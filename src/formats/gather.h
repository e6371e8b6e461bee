// Strided arrays read in runs: the elements of logical indices [begin, begin + count) made contiguous.
#pragma once

#include <cstddef>

#include "ullage/formats/cast.h"

namespace ullage::formats {

// to: count * element_bytes() bytes. The array passed element_count().
void gather(const ArrayView& array, std::size_t begin, std::size_t count, void* to) noexcept;

}  // namespace ullage::formats
