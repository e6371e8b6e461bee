// One body for all CPU paths: vectors of kBytes, which the compiler maps to the instructions of the function that a body is
// inlined into. For loops simple enough that nothing is lost by it.
#pragma once

#define ULLAGE_BODY static inline __attribute__((always_inline))
#define ULLAGE_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define ULLAGE_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,fma")))

namespace ullage::spectrum {

template <class T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));
  static constexpr int kLanes = kBytes / static_cast<int>(sizeof(T));
};

}  // namespace ullage::spectrum
