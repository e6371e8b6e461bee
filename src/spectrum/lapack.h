// What every file that calls BLAS or LAPACK does first.
#pragma once

#include <cblas.h>

namespace ullage::spectrum {

// OpenBLAS stays on the calling thread: our own parallel_for runs over heads, and its bits change
// with its thread count. Done once a process; costs a load and a branch afterwards. Setting the number
// where it is right already would start threads that were stopped.
inline void one_blas_thread() {
  static const bool once = [] {
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace ullage::spectrum
