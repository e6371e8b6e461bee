#include "ullage/formats/scaling.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cfloat>
#include <cmath>
#include <string>

#include "formats/chunks.h"
#include "formats/decode.h"
#include "formats/reader.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

float power_of_two_below(float scale) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scale) & 0xFF800000);
}

// The largest |value| of each scale, by pattern: NaN's are past infinity's, so NaN stays.
class Largest {
 public:
  Largest(const Reader& reader, std::size_t columns, Granularity granularity)
      : reader_(reader), columns_(columns), granularity_(granularity), path_(cpu_path()) {}

  // Adds elements [begin, end) to the scales of one worker.
  void run(std::size_t begin, std::size_t end, float* largest) const {
    std::array<float, kBlock> buffer;
    const LargestKernel kernel = cast_kernels(path_).largest;
    for (std::size_t at = begin; at < end;) {
      const std::size_t column = at % columns_;
      std::size_t count = std::min(kBlock, end - at);
      if (granularity_ != Granularity::tensor) count = std::min(count, columns_ - column);
      const float* values = reader_.read(at, count, buffer.data());
      if (granularity_ == Granularity::channel) {
        for (std::size_t i = 0; i < count; ++i)
          raise(largest[column + i], std::bit_cast<std::uint32_t>(values[i]) & 0x7FFFFFFF);
      } else {
        raise(largest[granularity_ == Granularity::row ? at / columns_ : 0], kernel(values, count));
      }
      at += count;
    }
  }

 private:
  // Threads may meet at one scale; a maximum does not depend on their order.
  static void raise(float& largest, std::uint32_t to) {
    const std::atomic_ref<float> shared(largest);
    float seen = shared.load(std::memory_order_relaxed);
    while (
        std::bit_cast<std::uint32_t>(seen) < to &&
        !shared.compare_exchange_weak(seen, std::bit_cast<float>(to), std::memory_order_relaxed)) {
    }
  }

  const Reader& reader_;
  std::size_t columns_;
  Granularity granularity_;
  CpuPath path_;
};

std::size_t column_count(const ArrayView& source) {
  return source.shape.empty() ? 1 : static_cast<std::size_t>(source.shape.back());
}

Status find_largest(const ArrayView& source, std::size_t count, Granularity granularity,
                    int threads, float* largest) {
  const Reader reader(source, cpu_path());
  const Largest finder(reader, std::max<std::size_t>(1, column_count(source)), granularity);
  const Result<CastCounts> done =
      in_chunks(count, kChunk, threads, [&](std::size_t begin, std::size_t end) {
        finder.run(begin, end, largest);
        return CastCounts{};
      });
  if (!done.ok()) return done.error();
  return {};
}

// Whether decoding can divide by it: NaN or infinity in an array may make it NaN or zero.
bool has_descale(float multiplier) { return multiplier > 0 && std::isfinite(multiplier); }

// A run whose elements have a multiplier each.
CastCounts cast_by_channel(const RunCaster& caster, const Decoder& decoder, const float* values,
                           std::size_t count, std::size_t first, const float* multipliers,
                           const Format& to, const CastOptions& options, void* codes) {
  std::array<float, kBlock> scaled;
  std::array<float, kBlock> results;
  for (std::size_t i = 0; i < count; ++i) scaled[i] = values[i] * multipliers[i];
  caster.cast(scaled.data(), count, first, codes);
  decoder.run(codes, count, results.data());
  // The kernel counted in scaled units; here each element counts in its own.
  CastCounts counts;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isnan(values[i]) || !has_descale(multipliers[i])) {
      add(counts, lost(values + i, 1));
      continue;
    }
    ++counts.elements;
    const double x = scaled[i];
    const double y = results[i];
    counts.amax = std::max(counts.amax, static_cast<double>(std::fabs(values[i])));
    counts.flushed += values[i] != 0 && y == 0 ? 1 : 0;
    if (overflows(to, x, options, first + i)) {
      ++counts.saturated;
    } else {
      counts.error_sum += (y - x) / static_cast<double>(multipliers[i]);
      ++counts.error_count;
    }
  }
  return counts;
}

}  // namespace

float current_scale(float amax, const Format& format, const CurrentScaling& scaling) {
  const auto most = static_cast<float>(format.max_finite());
  float scale = 1;
  if (scaling.style == CurrentScaling::Style::torchao) {
    if (std::isnan(amax)) return amax;
    scale =
        static_cast<float>(static_cast<double>(most) / std::max(static_cast<double>(amax), 1e-12));
  } else {
    if (amax < scaling.epsilon) amax = scaling.epsilon;
    if (!(amax > 0) || !std::isfinite(amax)) return 1;
    scale = std::min(most / amax, FLT_MAX);
  }
  return scaling.power_of_two ? power_of_two_below(scale) : scale;
}

Result<float> largest_magnitude(const ArrayView& source, int threads) {
  if (source.format) ULLAGE_TRY(check_format(*source.format));
  ULLAGE_ASSIGN(const std::size_t count, element_count(source));
  float largest = 0;
  ULLAGE_TRY(find_largest(source, count, Granularity::tensor, threads, &largest));
  return largest;
}

Result<std::size_t> scale_count(const ArrayView& source, Granularity granularity) {
  ULLAGE_ASSIGN(const std::size_t count, element_count(source));
  const std::size_t columns = column_count(source);
  switch (granularity) {
    case Granularity::tensor:
      return std::size_t{1};
    case Granularity::row:
      return columns == 0 ? 0 : count / columns;
    case Granularity::channel:
      return columns;
  }
  return std::size_t{0};
}

Result<CastCounts> cast_scaled(const ArrayView& source, const Format& to, Granularity granularity,
                               const CurrentScaling& scaling, void* codes,
                               std::span<float> multipliers, const CastOptions& options) {
  ULLAGE_TRY(check_format(to));
  if (source.format) ULLAGE_TRY(check_format(*source.format));
  ULLAGE_ASSIGN(const std::size_t count, element_count(source));
  ULLAGE_ASSIGN(const std::size_t scales, scale_count(source, granularity));
  if (multipliers.size() != scales)
    return Error{Code::size_mismatch, "the array needs another number of scales", "multipliers",
                 std::to_string(scales), std::to_string(multipliers.size())};
  std::fill(multipliers.begin(), multipliers.end(), 0.0F);
  ULLAGE_TRY(find_largest(source, count, granularity, options.threads, multipliers.data()));
  for (float& multiplier : multipliers) multiplier = current_scale(multiplier, to, scaling);

  const CpuPath path = cpu_path();
  const Reader reader(source, path);
  const RunCaster caster(to, options, path);
  const Decoder decoder(to, path);
  const std::size_t columns = column_count(source);
  const auto cast_run = [&](std::size_t first, std::size_t length) {
    std::array<float, kBlock> buffer;
    const float* values = reader.read(first, length, buffer.data());
    char* target = static_cast<char*>(codes) + first * to.bytes();
    if (granularity == Granularity::channel)
      return cast_by_channel(caster, decoder, values, length, first,
                             multipliers.data() + first % columns, to, options, target);
    const std::size_t scale = granularity == Granularity::row ? first / columns : 0;
    const CastCounts counts = caster.cast(values, length, first, target, multipliers[scale]);
    return has_descale(multipliers[scale]) ? counts : lost(values, length);
  };
  return in_chunks(count, kChunk, options.threads, [&](std::size_t begin, std::size_t end) {
    CastCounts counts;
    for (std::size_t at = begin; at < end;) {
      std::size_t length = std::min(kBlock, end - at);
      if (granularity != Granularity::tensor) length = std::min(length, columns - at % columns);
      add(counts, cast_run(at, length));
      at += length;
    }
    return counts;
  });
}

}  // namespace ullage::formats
