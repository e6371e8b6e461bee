// Block casts: the array cut into blocks, a scale for each, the elements under it.
#include "ullage/formats/blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "formats/chunks.h"
#include "formats/decode.h"
#include "formats/mx_parameters.h"
#include "formats/mx_scale.h"
#include "formats/reader.h"
#include "ullage/base/checked.h"
#include "ullage/formats/scalar.h"
#include "ullage/formats/scaling.h"

namespace ullage::formats {
namespace {

constexpr std::size_t kMostTile = 1024;  // rows or columns of a tile

Status check_block_format(const BlockFormat& format) {
  ULLAGE_TRY(check_format(format.element));
  const auto refuse = [](std::string what, std::string where, int found) {
    return Error{Code::value_invalid, std::move(what), std::move(where), "", std::to_string(found)};
  };
  if (format.element.bytes() != 1 || kernel_shape(format.element) != KernelShape::small)
    return refuse("a block's elements have 8 bits at most, a sign and subnormals", "element",
                  format.element.bits());
  if (format.scale == BlockScale::e8m0 && (format.rows != 1 || format.columns != 32))
    return refuse("blocks with E8M0 scales are 1 x 32", "columns", format.columns);
  if (format.scale == BlockScale::e4m3_and_fp32 && (format.rows != 1 || format.columns != 16))
    return refuse("blocks with E4M3 scales are 1 x 16", "columns", format.columns);
  if (format.rows < 1 || static_cast<std::size_t>(format.rows) > kMostTile)
    return refuse("a tile has 1 to 1024 rows", "rows", format.rows);
  if (format.columns < 1 || static_cast<std::size_t>(format.columns) > kMostTile)
    return refuse("a tile has 1 to 1024 columns", "columns", format.columns);
  return {};
}

std::size_t ceil_divide(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// One block cast in progress: the parts that its kinds share.
struct Job {
  const BlockFormat& format;
  const BlockOptions& options;
  const Reader& reader;
  const RunCaster& caster;
  const CastKernels& kernels;
  MxKernel mx_kernel;
  BlockArray shape;
  std::uint8_t* codes;
  std::uint8_t* scale_codes;  // null: not wanted
  float* scales;              // null: not wanted

  void put_scale(std::size_t index, std::uint32_t code, float scale) const {
    if (scale_codes != nullptr) scale_codes[index] = static_cast<std::uint8_t>(code);
    if (scales != nullptr) scales[index] = scale;
  }
};

MxKernel mx_kernel(CpuPath path, Rounding rounding) {
  const MxKernels& kernels = mx_kernels(path);
  if (rounding == Rounding::stochastic) return kernels.stochastic;
  return rounding == Rounding::nearest_even ? kernels.nearest : kernels.small;
}

// A run of one row that begins at a block's begin; count <= kBlock.
CastCounts cast_mx_run(const Job& job, const MxParameters& mx, std::size_t first, std::size_t count,
                       std::size_t scale_index, bool stream) {
  alignas(64) std::array<float, kBlock> buffer;
  alignas(64) std::array<std::uint8_t, kBlock> code_buffer;
  std::array<std::uint8_t, kBlock / kMxBlock> scale_buffer;
  alignas(64) std::array<std::uint32_t, kBlock + kRandomGroup> words;
  const std::size_t padded = ceil_divide(count, kMxBlock) * kMxBlock;
  const float* values = job.reader.read(first, count, buffer.data());
  const bool short_block = padded != count;
  if (short_block) {
    if (values != buffer.data()) std::copy_n(values, count, buffer.data());
    std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(count),
              buffer.begin() + static_cast<std::ptrdiff_t>(padded), 0.0F);
    values = buffer.data();
  }
  const bool direct = !short_block && !stream;
  std::uint8_t* codes = direct ? job.codes + first : code_buffer.data();
  BlockCounts found;
  job.mx_kernel(values, padded, job.caster.random(first, padded, words.data()),
                job.caster.parameters(), mx, scale_buffer.data(), codes, found);
  if (stream)
    stream_copy(job.codes + first, codes, count);
  else if (!direct)
    std::memcpy(job.codes + first, codes, count);
  // The zeros that fill a short block are lost with it where its scale is NaN.
  const std::size_t blocks = padded / kMxBlock;
  if (short_block && scale_buffer[blocks - 1] == kE8M0.nan_code())
    found.saturated -= padded - count;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::uint32_t code = scale_buffer[block];
    job.put_scale(scale_index + block, code, std::bit_cast<float>(mx_scale_pattern(code)));
  }
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

Result<CastCounts> cast_mx(const Job& job) {
  const MxParameters mx = mx_parameters(job.options.rule, job.format.element);
  // Rows of whole blocks are one long row.
  const bool whole = job.shape.columns % kMxBlock == 0;
  const std::size_t rows = whole ? 1 : job.shape.rows;
  const std::size_t columns = whole ? job.shape.rows * job.shape.columns : job.shape.columns;
  const std::size_t row_scales = whole ? 0 : job.shape.scale_columns;
  const std::size_t runs = std::max<std::size_t>(1, ceil_divide(columns, kBlock));
  const bool stream = rows * columns * 5 >= kStreamBytes;
  const std::size_t run_length = std::min(columns, kBlock);
  return in_chunks(columns == 0 ? 0 : rows * runs, kChunk / std::max<std::size_t>(1, run_length),
                   job.options.cast.threads, [&](std::size_t begin, std::size_t end) {
                     CastCounts counts;
                     for (std::size_t i = begin; i < end; ++i) {
                       const std::size_t row = i / runs;
                       const std::size_t column = i % runs * kBlock;
                       add(counts, cast_mx_run(job, mx, row * columns + column,
                                               std::min(kBlock, columns - column),
                                               row * row_scales + column / kMxBlock, stream));
                     }
                     return counts;
                   });
}

// The largest finite multiplier where a division overflows.
float at_most_largest(float x) { return std::min(x, FLT_MAX); }

// NVIDIA's two-level recipe: the array's largest value goes to 448 * 6, each block's scale is its largest
// magnitude over 6 in E4M3, and elements are multiplied by the reciprocal of what decoding will use.
Result<CastCounts> cast_nvfp4(const Job& job, float amax, float& global_scale) {
  const auto most_element = static_cast<float>(job.format.element.max_finite());
  const auto most_scale = static_cast<float>(kE4M3.max_finite());
  float encode_all = at_most_largest(most_scale * most_element / amax);
  if (!(encode_all > 0)) encode_all = 1;  // infinity or NaN in the array
  const float decode_all = 1 / encode_all;
  global_scale = decode_all;
  const std::size_t columns = job.shape.columns;
  const auto width = static_cast<std::size_t>(job.format.columns);
  const auto cast_block = [&](std::size_t block) {
    const std::size_t row = block / job.shape.scale_columns;
    const std::size_t column = block % job.shape.scale_columns * width;
    const std::size_t first = row * columns + column;
    const std::size_t count = std::min(width, columns - column);
    std::array<float, 16> buffer;
    const float* values = job.reader.read(first, count, buffer.data());
    const auto largest = std::bit_cast<float>(job.kernels.largest(values, count));
    const float wanted = at_most_largest(largest / most_element * encode_all);
    const std::uint32_t code =
        encode(kE4M3, static_cast<double>(std::isnan(largest) ? largest : wanted),
               {.overflow = Overflow::saturate});
    const float decode_block = static_cast<float>(decode(kE4M3, code)) * decode_all;
    job.put_scale(block, code, decode_block);
    return job.caster.cast(
        values, count, first, job.codes + first,
        std::isnan(decode_block) ? decode_block : at_most_largest(1 / decode_block));
  };
  const std::size_t blocks = job.shape.scale_rows * job.shape.scale_columns;
  return in_chunks(blocks, kChunk / width, job.options.cast.threads,
                   [&](std::size_t begin, std::size_t end) {
                     CastCounts counts;
                     for (std::size_t block = begin; block < end; ++block)
                       add(counts, cast_block(block));
                     return counts;
                   });
}

Result<CastCounts> cast_tiles(const Job& job) {
  const auto height = static_cast<std::size_t>(job.format.rows);
  const auto width = static_cast<std::size_t>(job.format.columns);
  const CurrentScaling scaling = {.power_of_two = job.options.power_of_two};
  const auto cast_tile = [&](std::size_t tile) {
    const std::size_t top = tile / job.shape.scale_columns * height;
    const std::size_t left = tile % job.shape.scale_columns * width;
    const std::size_t bottom = std::min(job.shape.rows, top + height);
    const std::size_t count = std::min(width, job.shape.columns - left);
    std::array<float, kMostTile> buffer;
    std::uint32_t largest = 0;
    for (std::size_t row = top; row < bottom; ++row) {
      const std::size_t first = row * job.shape.columns + left;
      largest = std::max(largest,
                         job.kernels.largest(job.reader.read(first, count, buffer.data()), count));
    }
    const float multiplier =
        current_scale(std::bit_cast<float>(largest), job.format.element, scaling);
    job.put_scale(tile, 0, 1 / multiplier);
    CastCounts counts;
    for (std::size_t row = top; row < bottom; ++row) {
      const std::size_t first = row * job.shape.columns + left;
      const float* values = job.reader.read(first, count, buffer.data());
      add(counts, job.caster.cast(values, count, first, job.codes + first, multiplier));
    }
    return counts;
  };
  return in_chunks(job.shape.scale_rows * job.shape.scale_columns,
                   kChunk / std::max<std::size_t>(1, height * width), job.options.cast.threads,
                   [&](std::size_t begin, std::size_t end) {
                     CastCounts counts;
                     for (std::size_t tile = begin; tile < end; ++tile)
                       add(counts, cast_tile(tile));
                     return counts;
                   });
}

}  // namespace

Result<BlockArray> block_shape(const ArrayView& source, const BlockFormat& format) {
  ULLAGE_TRY(check_block_format(format));
  ULLAGE_ASSIGN(const std::size_t count, element_count(source));
  BlockArray shape;
  shape.columns = source.shape.empty() ? 1 : static_cast<std::size_t>(source.shape.back());
  shape.rows = shape.columns == 0 ? 0 : count / shape.columns;
  shape.scale_rows = ceil_divide(shape.rows, static_cast<std::size_t>(format.rows));
  shape.scale_columns = ceil_divide(shape.columns, static_cast<std::size_t>(format.columns));
  return shape;
}

Result<BlockArray> cast_blocks(const ArrayView& source, const BlockFormat& format,
                               std::span<std::uint8_t> codes, std::span<std::uint8_t> scale_codes,
                               std::span<float> scales, const BlockOptions& options) {
  if (source.format) ULLAGE_TRY(check_format(*source.format));
  ULLAGE_ASSIGN(BlockArray shape, block_shape(source, format));
  const auto need = [](std::string what, std::size_t expected, std::size_t found) {
    return Error{Code::size_mismatch, "the destination has another length than the blocks",
                 std::move(what), std::to_string(expected), std::to_string(found)};
  };
  const std::size_t scale_total = shape.scale_rows * shape.scale_columns;
  if (codes.size() != shape.rows * shape.columns)
    return need("codes", shape.rows * shape.columns, codes.size());
  if (!scale_codes.empty() && scale_codes.size() != scale_total)
    return need("scale_codes", scale_total, scale_codes.size());
  if (!scales.empty() && scales.size() != scale_total)
    return need("scales", scale_total, scales.size());
  if (!scale_codes.empty() && format.scale == BlockScale::fp32)
    return Error{Code::usage, "scales of this format are FP32 and have no codes", "scale_codes", "",
                 std::string(format.label())};

  const CpuPath path = cpu_path();
  const Reader reader(source, path);
  const RunCaster caster(format.element, options.cast, path);
  const Job job = {format,
                   options,
                   reader,
                   caster,
                   cast_kernels(path),
                   mx_kernel(path, options.cast.rounding),
                   shape,
                   codes.data(),
                   scale_codes.empty() ? nullptr : scale_codes.data(),
                   scales.empty() ? nullptr : scales.data()};
  Result<CastCounts> counts = CastCounts{};
  switch (format.scale) {
    case BlockScale::e8m0:
      counts = cast_mx(job);
      break;
    case BlockScale::e4m3_and_fp32: {
      ULLAGE_ASSIGN(const float amax, largest_magnitude(source, options.cast.threads));
      counts = cast_nvfp4(job, amax, shape.global_scale);
      break;
    }
    case BlockScale::fp32:
      counts = cast_tiles(job);
      break;
  }
  if (!counts.ok()) return std::move(counts).error();
  shape.counts = *counts;
  return shape;
}

Status decode_blocks(const BlockFormat& format, std::size_t rows, std::size_t columns,
                     std::span<const std::uint8_t> codes, std::span<const float> scales,
                     std::span<float> values) {
  ULLAGE_TRY(check_block_format(format));
  const auto count = checked_multiply(rows, columns);
  const auto height = static_cast<std::size_t>(format.rows);
  const auto width = static_cast<std::size_t>(format.columns);
  const std::size_t scale_columns = ceil_divide(columns, width);
  if (!count || codes.size() != *count || values.size() != *count ||
      scales.size() != ceil_divide(rows, height) * scale_columns)
    return Error{Code::size_mismatch, "codes, scales and values do not fit the shape", "codes",
                 std::to_string(rows) + " x " + std::to_string(columns),
                 std::to_string(codes.size()) + " codes, " + std::to_string(scales.size()) +
                     " scales, " + std::to_string(values.size()) + " values"};
  const ScopedDefaultEnvironment environment;
  Decoder(format.element, cpu_path()).run(codes.data(), codes.size(), values.data());
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column)
      values[row * columns + column] *= scales[row / height * scale_columns + column / width];
  return {};
}

}  // namespace ullage::formats
