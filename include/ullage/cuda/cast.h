// formats::cast on device memory: the same codes and the same counts, to the bit, as on the CPU.
//
// A cast launches on the stream and returns: it allocates nothing and waits for nothing, so it can be captured in a
// CUDA graph. The memory that its pointers name is the current device's, and stays until the work is done.
#pragma once

#include <cstddef>

#include "ullage/base/result.h"
#include "ullage/cuda/device.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::cuda {

// Where a cast leaves what it met. Both in device memory, aligned to 16 bytes; neither needs to be initialised.
struct CountsOnDevice {
  formats::CastCounts* counts = nullptr;  // null: not wanted, and `scratch` is not used
  void* scratch = nullptr;                // of cast_scratch_bytes(), of one cast at a time
};
// One byte for 63 elements, and a little.
std::size_t cast_scratch_bytes(std::size_t elements);

// source.data and codes are in device memory (shape and strides in the host's). Whole arrays are fastest where both are
// aligned to 16 bytes, the source is FP32, BF16 or FP16 without gaps, or codes of one byte that are cast to nearest, and,
// for stochastic rounding, options.first_index is a multiple of 64. options.threads is not used.
Status cast(const formats::ArrayView& source, const formats::Format& to, void* codes,
            const formats::CastOptions& options, const CountsOnDevice& found, Stream stream);
// The same to the values that the codes stand for.
Status cast_to_values(const formats::ArrayView& source, const formats::Format& to, float* values,
                      const formats::CastOptions& options, const CountsOnDevice& found,
                      Stream stream);

}  // namespace ullage::cuda
