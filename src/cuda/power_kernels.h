// The launch behind warm power iteration.
#pragma once

#include <driver_types.h>

#include "ullage/cuda/rows.h"

namespace ullage::cuda {

struct PowerTask {
  DeviceRows query, key;
  float* direction = nullptr;  // v, of unit length: key.width numbers
  float* scratch = nullptr;    // as many
  double* sigma = nullptr;
};

// Whether rows can be copied 16 bytes at a time.
bool takes_whole_rows(const DeviceRows& rows);

// One block a task. All tasks of a launch have one element type, BF16 or FP32.
struct PowerLaunch {
  int count = 0;
  spectrum::Element element = spectrum::Element::bf16;
  int rows = 0;       // the most of any side
  bool whole = true;  // all sides take whole rows
  // Filled by prepare():
  int groups = 0;  // threads along a row
  int stages = 0;  // tiles in shared memory
};
cudaError_t prepare(PowerLaunch& launch);
cudaError_t launch_power_iteration(const PowerTask* tasks, const PowerLaunch& launch,
                                   int iterations, cudaStream_t stream);

}  // namespace ullage::cuda
