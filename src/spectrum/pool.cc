#include "ullage/spectrum/pool.h"

#include <array>
#include <new>

namespace ullage::spectrum {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooling = false;  // a pool would hide the use of freed blocks
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
constexpr bool kPooling = false;
#else
constexpr bool kPooling = true;
#endif
#else
constexpr bool kPooling = true;
#endif

constexpr std::size_t kLeastBytes = std::size_t{16} << 10;  // smaller blocks malloc keeps by itself
constexpr std::size_t kMostBytes = std::size_t{16} << 20;   // a thread's whole cache

// Trivially destructible, so that blocks freed while a thread ends still find it.
thread_local bool ended = false;

struct Cache {
  struct Entry {
    void* block = nullptr;
    std::size_t bytes = 0;
  };
  std::array<Entry, 64> entries;
  std::size_t count = 0;
  std::size_t held = 0;

  ~Cache() {
    ended = true;
    for (std::size_t i = 0; i < count; ++i) ::operator delete(entries[i].block);
  }
  void* take(std::size_t bytes) {
    for (std::size_t i = count; i-- > 0;) {
      if (entries[i].bytes != bytes) continue;
      void* block = entries[i].block;
      entries[i] = entries[--count];
      held -= bytes;
      return block;
    }
    return nullptr;
  }
  bool keep(void* block, std::size_t bytes) {
    if (count == entries.size() || held + bytes > kMostBytes) return false;
    entries[count++] = {block, bytes};
    held += bytes;
    return true;
  }
};

thread_local Cache cache;

}  // namespace

void* pooled_allocate(std::size_t bytes) {
  if (kPooling && bytes >= kLeastBytes && !ended) {
    if (void* block = cache.take(bytes)) return block;
  }
  return ::operator new(bytes);
}

void pooled_free(void* block, std::size_t bytes) noexcept {
  if (kPooling && bytes >= kLeastBytes && !ended && cache.keep(block, bytes)) return;
  ::operator delete(block);
}

}  // namespace ullage::spectrum
