// The floating-point environment that the kernels count on, whatever the caller's: round to nearest even,
// subnormal numbers kept. (PyTorch's set_flush_denormal(True), for one, leaves its threads otherwise.)
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace ullage::formats {

// For a while, on this thread.
class ScopedDefaultEnvironment {
 public:
#if defined(__x86_64__)
  ScopedDefaultEnvironment() noexcept : before_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~ScopedDefaultEnvironment() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned kDefault = 0x1F80;  // exceptions masked, nearest even, nothing flushed
  unsigned before_;
#else
  ScopedDefaultEnvironment() noexcept {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~ScopedDefaultEnvironment() { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
#endif

 public:
  ScopedDefaultEnvironment(const ScopedDefaultEnvironment&) = delete;
  ScopedDefaultEnvironment& operator=(const ScopedDefaultEnvironment&) = delete;
};

}  // namespace ullage::formats
