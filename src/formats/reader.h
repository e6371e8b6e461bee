// Any array read as FP32 in runs of at most kBlock elements.
#pragma once

#include <cstddef>

#include "formats/decode.h"
#include "formats/kernels.h"
#include "ullage/formats/cast.h"

namespace ullage::formats {

class Reader {
 public:
  // The array passed element_count(), its format check_format().
  Reader(const ArrayView& source, CpuPath path);

  // Elements [first, first + count) of the row-major order: where they lie, or in `buffer`. FP64 is rounded to
  // FP32; formats are exact.
  const float* read(std::size_t first, std::size_t count, float* buffer) const noexcept;
  // The same for FP64 sources, unrounded.
  void read_doubles(std::size_t first, std::size_t count, double* buffer) const noexcept;
  [[nodiscard]] bool is_fp64() const { return !source_.format.has_value(); }

 private:
  ArrayView source_;
  bool contiguous_;
  Decoder decoder_;
};

}  // namespace ullage::formats
