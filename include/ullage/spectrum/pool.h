// Memory of matrices, kept by each thread for the next one.
//
// A head_dim x head_dim matrix in FP64 is just above the size from which malloc maps and unmaps pages on each
// call: 34 page faults a matrix at 128, two thirds of the time of a certificate. A thread's freed blocks wait here
// instead, 16 MiB at most, and go when it ends.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace ullage::spectrum {

void* pooled_allocate(std::size_t bytes);
void pooled_free(void* block, std::size_t bytes) noexcept;

template <class T>
struct PooledAllocator {
  using value_type = T;
  PooledAllocator() = default;
  // NOLINTBEGIN(google-explicit-constructor)
  template <class U>
  PooledAllocator(const PooledAllocator<U>& /*other*/) noexcept {}
  // NOLINTEND(google-explicit-constructor)
  // Elements made without a value are left as they are: containers say where they want zeros.
  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
  T* allocate(std::size_t count) { return static_cast<T*>(pooled_allocate(count * sizeof(T))); }
  void deallocate(T* block, std::size_t count) noexcept { pooled_free(block, count * sizeof(T)); }
  friend bool operator==(const PooledAllocator&, const PooledAllocator&) { return true; }
};

}  // namespace ullage::spectrum
