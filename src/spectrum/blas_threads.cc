#include "ullage/spectrum/blas_threads.h"

#include "spectrum/lapack.h"

// What OpenBLAS itself calls before a fork; in no header of it.
extern "C" int blas_thread_shutdown_() __attribute__((weak));

namespace ullage::spectrum {

void stop_idle_blas_threads() {
  one_blas_thread();
  if (blas_thread_shutdown_ != nullptr) blas_thread_shutdown_();
}

}  // namespace ullage::spectrum
