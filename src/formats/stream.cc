#include "formats/stream.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace ullage::formats {

#if defined(__x86_64__)
void stream_copy(void* to, const void* from, std::size_t bytes) noexcept {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  // Whole cache lines only: a line written in parts by non-temporal stores is slower than an ordinary one.
  const std::size_t misaligned = (64 - reinterpret_cast<std::uintptr_t>(out) % 64) % 64;
  const std::size_t head = std::min(bytes, misaligned);
  std::memcpy(out, in, head);
  std::size_t at = head;
  for (; at + 64 <= bytes; at += 64)
    for (std::size_t part = 0; part < 64; part += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(out + at + part),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at + part)));
  std::memcpy(out + at, in + at, bytes - at);
}

void stream_fence() noexcept { _mm_sfence(); }
#else
void stream_copy(void* to, const void* from, std::size_t bytes) noexcept {
  std::memcpy(to, from, bytes);
}

void stream_fence() noexcept {}
#endif

}  // namespace ullage::formats
