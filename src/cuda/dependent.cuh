// Kernels whose launch overlaps the end of the one before in their stream (programmatic dependent launch, compute
// capability 9.0 and up). Without it a kernel starts when all before it is done, and both functions do nothing.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

namespace ullage::cuda {

// In the kernel before: what comes next may be made ready.
__device__ __forceinline__ void let_the_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// In the kernel that was launched by launch_dependent(): until all before is done and its memory is there.
__device__ __forceinline__ void wait_for_the_last() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <class... Parameters, class... Arguments>
cudaError_t launch_dependent(void (*kernel)(Parameters...), unsigned grid, unsigned threads,
                             cudaStream_t stream, Arguments&&... arguments) {
  int device = 0;
  int major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute overlaps = {};
  overlaps.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlaps.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(threads);
  config.stream = stream;
  config.attrs = &overlaps;
  config.numAttrs = major >= 9 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace ullage::cuda
