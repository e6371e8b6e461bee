// Arrays: decode to FP32 or FP64, cast from FP32 or FP64 to codes, with counts in the same pass.
//
// Codes lie in the low bits of std::uint8_t, std::uint16_t or std::uint32_t, whichever
// Format::bytes() says. The bits are those of scalar.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ullage/base/result.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::formats {

// What a cast met on its way.
struct CastCounts {
  std::uint64_t elements = 0;
  std::uint64_t nan = 0;  // inputs that are NaN
  // Inputs, infinities too, whose rounding lies past the largest finite value; under scales also those that
  // one loses, being NaN (or, where it multiplies, zero or infinite).
  std::uint64_t saturated = 0;
  std::uint64_t flushed = 0;  // inputs not zero that became zero
  double amax = 0;            // largest |input| but NaN; infinity counts
  double error_sum = 0;       // of (what the code stands for - input), NaN and saturated left out
  std::uint64_t error_count = 0;  // elements in error_sum

  // Mean signed rounding error, in the input's units: near 0 unless rounding is biased.
  [[nodiscard]] double mean_error() const {
    return error_count == 0 ? 0.0 : error_sum / static_cast<double>(error_count);
  }
};

// Exact. FP32 holds every value of every format here. Codes: value_invalid (check_format),
// dtype_unsupported (another code type), size_mismatch (lengths).
Status decode(const Format& format, std::span<const std::uint8_t> codes, std::span<float> values);
Status decode(const Format& format, std::span<const std::uint16_t> codes, std::span<float> values);
Status decode(const Format& format, std::span<const std::uint32_t> codes, std::span<float> values);
Status decode(const Format& format, std::span<const std::uint8_t> codes, std::span<double> values);
Status decode(const Format& format, std::span<const std::uint16_t> codes, std::span<double> values);
Status decode(const Format& format, std::span<const std::uint32_t> codes, std::span<double> values);

// Where an array lies: FP64, or codes of a format (FP32 too: kFp32), in any strides.
struct ArrayView {
  const void* data = nullptr;
  std::optional<Format> format;  // nullopt: FP64
  std::span<const std::int64_t> shape;
  std::span<const std::int64_t> strides;  // in elements, one a dimension; empty: row-major, no gaps
};
inline constexpr std::size_t kMaxRank = 32;

// The number of elements. value_invalid for negative sizes, more than kMaxRank dimensions, strides of
// another length; size_overflow for more elements than memory can hold.
Result<std::size_t> element_count(const ArrayView& array);
std::size_t element_bytes(const ArrayView& array);
// Row-major without gaps (or with at most one element).
bool is_contiguous(const ArrayView& array);

// Casts element by element, in row-major order of the shape, to contiguous codes; one rounding
// whatever the source. The sign of NaN comes along from FP32 and FP64 alone: other formats' NaN is read as decode()
// has it, positive. `codes` has element_count() * to.bytes() bytes and overlaps no source element.
// Codes: value_invalid (a format that check_format refuses), those of element_count, resource.
Result<CastCounts> cast(const ArrayView& source, const Format& to, void* codes,
                        const CastOptions& options);
// The same to the values that the codes stand for, in FP32.
Result<CastCounts> cast_to_values(const ArrayView& source, const Format& to, float* values,
                                  const CastOptions& options);

// Contiguous arrays: also size_mismatch unless lengths agree, dtype_unsupported unless the code type is
// the format's.
Result<CastCounts> cast(std::span<const float> values, const Format& to,
                        std::span<std::uint8_t> codes, const CastOptions& options);
Result<CastCounts> cast(std::span<const float> values, const Format& to,
                        std::span<std::uint16_t> codes, const CastOptions& options);
Result<CastCounts> cast(std::span<const float> values, const Format& to,
                        std::span<std::uint32_t> codes, const CastOptions& options);
Result<CastCounts> cast(std::span<const double> values, const Format& to,
                        std::span<std::uint8_t> codes, const CastOptions& options);
Result<CastCounts> cast(std::span<const double> values, const Format& to,
                        std::span<std::uint16_t> codes, const CastOptions& options);
Result<CastCounts> cast(std::span<const double> values, const Format& to,
                        std::span<std::uint32_t> codes, const CastOptions& options);

}  // namespace ullage::formats
