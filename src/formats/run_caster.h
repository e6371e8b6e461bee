// Casts of short runs, each with a scale of its own where there is one: what every array cast is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "formats/kernels.h"
#include "ullage/formats/cast.h"

namespace ullage::formats {

// Sums of counts; take them in a fixed order.
void add(CastCounts& sum, const CastCounts& part);
// What a kernel found in `count` elements.
CastCounts to_counts(const BlockCounts& found, std::size_t count);
// Of elements whose scale decoding cannot use: those that are not NaN count as saturated.
CastCounts lost(const float* values, std::size_t count);

class RunCaster {
 public:
  RunCaster(const Format& to, const CastOptions& options, CpuPath path);

  // values[0, count), count <= kBlock; `first` is the logical index of the first element within the call.
  // With a scale, the FP32 product value * scale is cast, and counts are in the units of the values.
  CastCounts cast(const float* values, std::size_t count, std::size_t first, void* codes,
                  std::optional<float> scale = std::nullopt) const noexcept;
  // Whole rows of kRow values, each under a multiplier of its own; small formats of one byte.
  // reciprocals: one over each multiplier.
  CastCounts cast_rows(const float* values, std::size_t count, std::size_t first,
                       const float* multipliers, const float* reciprocals,
                       std::uint8_t* codes) const noexcept;
  // By definition, FP64 sources too.
  CastCounts cast(const double* values, std::size_t count, std::size_t first,
                  void* codes) const noexcept;

  // Random words for elements from `first` on; null unless rounding is stochastic. `words` holds
  // kBlock + kRandomGroup words.
  const std::uint32_t* random(std::size_t first, std::size_t count,
                              std::uint32_t* words) const noexcept;
  [[nodiscard]] const CastParameters& parameters() const { return parameters_; }
  [[nodiscard]] std::size_t code_bytes() const { return to_.bytes(); }

 private:
  Format to_;
  CastOptions options_;
  CastParameters parameters_;
  CastKernel kernel_ = nullptr;  // null: by definition
  CastKernel scaled_kernel_ = nullptr;
  RowsKernel rows_kernel_ = nullptr;
  RandomKernel random_;
};

}  // namespace ullage::formats
