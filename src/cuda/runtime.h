// CUDA's own results as ours.
#pragma once

#include <cuda_runtime_api.h>

#include "ullage/base/result.h"

namespace ullage::cuda {

// Nothing for cudaSuccess; else Code::device_unavailable or Code::resource, with CUDA's own words. `doing` says what
// failed: "a copy to the device".
Status check(cudaError_t error, const char* doing);

// After a launch: its own error, or one that an earlier launch left.
inline Status check_launch(const char* doing) { return check(cudaGetLastError(), doing); }

}  // namespace ullage::cuda
