#include "formats/run_caster.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "ullage/formats/random.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

void store_code(std::uint32_t code, std::size_t bytes, std::size_t i, void* codes) {
  std::memcpy(static_cast<char*>(codes) + i * bytes, &code, bytes);  // little endian
}

template <class Value>
CastCounts cast_by_definition(const Value* values, std::size_t count, std::size_t first,
                              const Format& to, const CastOptions& options,
                              std::optional<float> scale, void* codes) noexcept {
  const double unscale = scale ? 1 / static_cast<double>(*scale) : 1;
  CastCounts counts;
  for (std::size_t i = 0; i < count; ++i) {
    const Value input = values[i];
    const double x = scale ? static_cast<float>(input) * *scale : input;
    const std::uint32_t code = encode(to, x, options, first + i);
    store_code(code, to.bytes(), i, codes);
    if (std::isnan(x)) {
      ++counts.nan;
      continue;
    }
    const double y = decode(to, code);
    counts.amax = std::max(counts.amax, std::fabs(static_cast<double>(input)));
    counts.flushed += input != 0 && y == 0;
    if (overflows(to, x, options, first + i))
      ++counts.saturated;
    else
      counts.error_sum += (y - x) * unscale;
  }
  counts.elements = count;
  counts.error_count = count - counts.nan - counts.saturated;
  return counts;
}

}  // namespace

void add(CastCounts& sum, const CastCounts& part) {
  sum.elements += part.elements;
  sum.nan += part.nan;
  sum.saturated += part.saturated;
  sum.flushed += part.flushed;
  sum.amax = std::max(sum.amax, part.amax);
  sum.error_sum += part.error_sum;
  sum.error_count += part.error_count;
}

CastCounts to_counts(const BlockCounts& found, std::size_t count) {
  CastCounts counts;
  counts.elements = count;
  counts.nan = found.nan;
  counts.saturated = found.saturated;
  counts.flushed = found.flushed;
  counts.amax = static_cast<double>(found.amax);
  counts.error_sum = found.error;
  counts.error_count = count - found.nan - found.saturated;
  return counts;
}

CastCounts lost(const float* values, std::size_t count) {
  CastCounts counts;
  counts.elements = count;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isnan(values[i])) {
      ++counts.nan;
      continue;
    }
    ++counts.saturated;
    counts.amax = std::max(counts.amax, static_cast<double>(std::fabs(values[i])));
  }
  return counts;
}

RunCaster::RunCaster(const Format& to, const CastOptions& options, CpuPath path)
    : to_(to),
      options_(options),
      parameters_(cast_parameters(to, options)),
      random_(random_kernel(path)) {
  const CastKernels& kernels = cast_kernels(path);
  const std::size_t width = to.bytes() == 4 ? 2 : to.bytes() - 1;
  const bool stochastic = options.rounding == Rounding::stochastic;
  const bool nearest = options.rounding == Rounding::nearest_even;
  switch (kernel_shape(to)) {
    case KernelShape::prefix:
      kernel_ = (stochastic ? kernels.prefix_stochastic
                 : nearest  ? kernels.prefix_nearest
                            : kernels.prefix)[width];
      break;
    case KernelShape::small:
      kernel_ = (stochastic ? kernels.small_stochastic
                 : nearest  ? kernels.nearest
                            : kernels.small)[width];
      scaled_kernel_ = (stochastic ? kernels.scaled_small_stochastic
                        : nearest  ? kernels.scaled_nearest
                                   : kernels.scaled_small)[width];
      rows_kernel_ = stochastic ? kernels.rows_stochastic
                     : nearest  ? kernels.rows_nearest
                                : kernels.rows_small;
      break;
    case KernelShape::scalar:
      break;
  }
}

const std::uint32_t* RunCaster::random(std::size_t first, std::size_t count,
                                       std::uint32_t* words) const noexcept {
  if (options_.rounding != Rounding::stochastic) return nullptr;
  const std::uint64_t index = options_.first_index + first;
  const std::uint64_t skipped = index % kRandomGroup;
  const std::uint64_t groups = (skipped + count + kRandomGroup - 1) / kRandomGroup;
  random_(options_.seed, index - skipped, groups * kRandomGroup, words);
  return words + skipped;
}

CastCounts RunCaster::cast(const double* values, std::size_t count, std::size_t first,
                           void* codes) const noexcept {
  return cast_by_definition(values, count, first, to_, options_, std::nullopt, codes);
}

CastCounts RunCaster::cast(const float* values, std::size_t count, std::size_t first, void* codes,
                           std::optional<float> scale) const noexcept {
  const CastKernel kernel = scale ? scaled_kernel_ : kernel_;
  if (kernel == nullptr)
    return cast_by_definition(values, count, first, to_, options_, scale, codes);
  CastParameters parameters = parameters_;
  if (scale) {
    parameters.scale = *scale;
    parameters.unscale = std::isnan(*scale) ? 0 : 1 / *scale;  // no error is counted under NaN
  }
  alignas(64) std::array<std::uint32_t, kBlock + kRandomGroup> words;
  const std::uint32_t* random_words = random(first, count, words.data());
  BlockCounts found;
  const std::size_t whole = count / kRow * kRow;
  if (whole > 0) kernel(values, whole, random_words, parameters, codes, found);
  if (whole < count) {
    std::array<float, kRow> row = {};
    std::array<std::uint32_t, kRow> row_random = {};
    std::array<std::uint32_t, kRow> row_codes;
    std::copy(values + whole, values + count, row.begin());
    if (random_words != nullptr)
      std::copy(random_words + whole, random_words + count, row_random.begin());
    kernel(row.data(), kRow, row_random.data(), parameters, row_codes.data(), found);
    // The zeros that fill the row are NaN under such a scale.
    if (scale && !std::isfinite(*scale)) found.nan -= whole + kRow - count;
    std::memcpy(static_cast<char*>(codes) + whole * to_.bytes(), row_codes.data(),
                (count - whole) * to_.bytes());
  }
  return to_counts(found, count);
}

CastCounts RunCaster::cast_rows(const float* values, std::size_t count, std::size_t first,
                                const float* multipliers, const float* reciprocals,
                                std::uint8_t* codes) const noexcept {
  alignas(64) std::array<std::uint32_t, kBlock + kRandomGroup> words;
  BlockCounts found;
  rows_kernel_(values, count, random(first, count, words.data()), parameters_, multipliers,
               reciprocals, codes, found);
  return to_counts(found, count);
}

}  // namespace ullage::formats
