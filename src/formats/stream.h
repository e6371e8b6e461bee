// Copies that go around the caches: results larger than them are written once and not read first.
#pragma once

#include <cstddef>

namespace ullage::formats {

// From here on, source and destination together do not stay in a core's share of the caches.
inline constexpr std::size_t kStreamBytes = std::size_t{16} << 20;

// memcpy by non-temporal stores where the CPU has them. stream_fence() before another thread reads.
void stream_copy(void* to, const void* from, std::size_t bytes) noexcept;
void stream_fence() noexcept;

}  // namespace ullage::formats
