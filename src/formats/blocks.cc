// Block casts: the array cut into blocks, a scale for each, the elements under it.
#include "ullage/formats/blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>

#include "formats/chunks.h"
#include "formats/decode.h"
#include "formats/mx_parameters.h"
#include "formats/mx_scale.h"
#include "formats/reader.h"
#include "ullage/base/checked.h"
#include "ullage/base/multiple.h"
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
  const std::size_t padded = rounded_up(count, kMxBlock);
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
  return to_counts(found, count);
}

// work(first, count, index of its first scale, stream) -> CastCounts for runs of blocks of `width` along rows.
template <class Work>
Result<CastCounts> in_runs(const Job& job, std::size_t width, const Work& work) {
  // Rows of whole blocks are one long row.
  const bool whole = job.shape.columns % width == 0;
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
                       add(counts, work(row * columns + column, std::min(kBlock, columns - column),
                                        row * row_scales + column / width, stream));
                     }
                     return counts;
                   });
}

Result<CastCounts> cast_mx(const Job& job) {
  const MxParameters mx = mx_parameters(job.options.rule, job.format.element);
  return in_runs(job, kMxBlock,
                 [&](std::size_t first, std::size_t count, std::size_t scale_index, bool stream) {
                   return cast_mx_run(job, mx, first, count, scale_index, stream);
                 });
}

// The largest finite multiplier where a division overflows.
float at_most_largest(float x) { return std::min(x, FLT_MAX); }

// NVIDIA's two-level recipe: the array's largest value goes to 448 * 6, each block's scale is its largest
// magnitude over 6 in E4M3, and elements are multiplied by the reciprocal of what decoding will use.
class Nvfp4 {
 public:
  Nvfp4(const Job& job, float amax, CpuPath path)
      : job_(job),
        most_element_(static_cast<float>(job.format.element.max_finite())),
        scale_caster_(kE4M3, {.overflow = Overflow::saturate}, path),
        scale_decoder_(kE4M3, path) {
    const auto most_scale = static_cast<float>(kE4M3.max_finite());
    encode_all_ = at_most_largest(most_scale * most_element_ / amax);
    if (!(encode_all_ > 0)) encode_all_ = 1;  // infinity or NaN in the array
    decode_all_ = 1 / encode_all_;
  }
  [[nodiscard]] float decode_all() const { return decode_all_; }

  // A run of one row, count <= kBlock, that begins at a block's begin; only the last block may be short.
  CastCounts cast(std::size_t first, std::size_t count, std::size_t scale_index,
                  bool stream) const {
    alignas(64) std::array<float, kBlock> buffer;
    alignas(64) std::array<std::uint8_t, kBlock> code_buffer;
    std::array<std::uint32_t, kBlocks> patterns;
    std::array<float, kBlocks> scales;
    std::array<float, kBlocks> multipliers;
    std::array<float, kBlocks> reciprocals;
    std::array<std::uint8_t, kBlocks> scale_codes;
    const float* values = job_.reader.read(first, count, buffer.data());
    const std::size_t whole = count / kRow * kRow;
    const std::size_t blocks = ceil_divide(count, kRow);
    job_.kernels.largest_of_rows(values, whole, patterns.data());
    if (whole < count) patterns[blocks - 1] = job_.kernels.largest(values + whole, count - whole);
    for (std::size_t block = 0; block < blocks; ++block) {
      const auto largest = std::bit_cast<float>(patterns[block]);
      const float wanted = at_most_largest(largest / most_element_ * encode_all_);
      scales[block] = std::isnan(largest) ? largest : wanted;
    }
    scale_caster_.cast(scales.data(), blocks, 0, scale_codes.data());
    scale_decoder_.run(scale_codes.data(), blocks, scales.data());
    for (std::size_t block = 0; block < blocks; ++block) {
      const float decode_block = scales[block] * decode_all_;
      multipliers[block] =
          std::isnan(decode_block) ? decode_block : at_most_largest(1 / decode_block);
      // Under NaN no error is counted.
      reciprocals[block] = std::isnan(multipliers[block]) ? 0 : 1 / multipliers[block];
      job_.put_scale(scale_index + block, scale_codes[block], decode_block);
    }
    std::uint8_t* codes = stream ? code_buffer.data() : job_.codes + first;
    CastCounts counts =
        job_.caster.cast_rows(values, whole, first, multipliers.data(), reciprocals.data(), codes);
    if (whole < count)
      add(counts, job_.caster.cast(values + whole, count - whole, first + whole, codes + whole,
                                   multipliers[blocks - 1]));
    for (std::size_t block = 0; block < blocks; ++block)
      if (std::isnan(scales[block]) || (scales[block] == 0 && patterns[block] != 0))
        recount(values, block * kRow, std::min(kRow, count - block * kRow), first,
                multipliers[block], counts);
    if (stream) stream_copy(job_.codes + first, codes, count);
    return counts;
  }

 private:
  // A block whose scale is NaN or zero decodes to that whatever its codes, which the kernel counted by.
  void recount(const float* run, std::size_t begin, std::size_t count, std::size_t first,
               float multiplier, CastCounts& counts) const {
    std::array<std::uint8_t, kRow> codes;
    const float* values = run + begin;
    const CastCounts by_codes =
        job_.caster.cast(values, count, first + begin, codes.data(), multiplier);
    CastCounts found = lost(values, count);
    if (!std::isnan(multiplier)) {
      found.saturated = 0;
      found.error_count = count;
      for (std::size_t i = 0; i < count; ++i) {
        found.flushed += values[i] != 0 ? 1 : 0;
        found.error_sum -= static_cast<double>(values[i]);
      }
    }
    counts.nan += found.nan - by_codes.nan;
    counts.saturated += found.saturated - by_codes.saturated;
    counts.flushed += found.flushed - by_codes.flushed;
    counts.error_sum += found.error_sum - by_codes.error_sum;
    counts.error_count += found.error_count - by_codes.error_count;
    counts.amax = std::max(counts.amax, found.amax);
  }

  static constexpr std::size_t kBlocks = kBlock / kRow;
  const Job& job_;
  float most_element_;
  float encode_all_;
  float decode_all_;
  RunCaster scale_caster_;
  Decoder scale_decoder_;
};

Result<CastCounts> cast_nvfp4(const Job& job, float amax, CpuPath path, float& global_scale) {
  const Nvfp4 recipe(job, amax, path);
  global_scale = recipe.decode_all();
  return in_runs(job, kRow,
                 [&](std::size_t first, std::size_t count, std::size_t scale_index, bool stream) {
                   return recipe.cast(first, count, scale_index, stream);
                 });
}

// Tiles side by side are cast together, so that rows are long; those of one unit stay in the second-level cache.
constexpr std::size_t kUnitColumns = 1024;
static_assert(kMostTile <= kBlock && kUnitColumns <= kBlock);

struct TileUnit {
  std::size_t tile_row;
  std::size_t first_tile;
  std::size_t top;  // rows [top, bottom)
  std::size_t bottom;
  std::size_t left;  // columns [left, left + length)
  std::size_t length;
};

using TileMultipliers = std::array<float, kUnitColumns>;

// Writes the scales of the unit's tiles.
void scale_tiles(const Job& job, const TileUnit& unit, TileMultipliers& multipliers) {
  const auto width = static_cast<std::size_t>(job.format.columns);
  const std::size_t tiles = ceil_divide(unit.length, width);
  const CurrentScaling scaling = {.power_of_two = job.options.power_of_two};
  alignas(64) std::array<float, kBlock> buffer;
  std::array<std::uint32_t, kUnitColumns> largest = {};
  for (std::size_t row = unit.top; row < unit.bottom; ++row) {
    const float* values =
        job.reader.read(row * job.shape.columns + unit.left, unit.length, buffer.data());
    for (std::size_t tile = 0; tile < tiles; ++tile)
      largest[tile] = std::max(
          largest[tile],
          job.kernels.largest(values + tile * width, std::min(width, unit.length - tile * width)));
  }
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    multipliers[tile] =
        current_scale(std::bit_cast<float>(largest[tile]), job.format.element, scaling);
    job.put_scale(unit.tile_row * job.shape.scale_columns + unit.first_tile + tile, 0,
                  1 / multipliers[tile]);
  }
}

CastCounts cast_unit(const Job& job, const TileUnit& unit, const TileMultipliers& multipliers,
                     bool stream) {
  const auto width = static_cast<std::size_t>(job.format.columns);
  // Rows of kRow lie within one tile where its width allows.
  const std::size_t whole = width % kRow == 0 ? unit.length / kRow * kRow : 0;
  std::array<float, kBlock / kRow> row_multipliers;
  std::array<float, kBlock / kRow> row_reciprocals;
  for (std::size_t i = 0; i < whole / kRow; ++i) {
    row_multipliers[i] = multipliers[i * kRow / width];
    row_reciprocals[i] = 1 / row_multipliers[i];
  }
  alignas(64) std::array<float, kBlock> buffer;
  alignas(64) std::array<std::uint8_t, kBlock> code_buffer;
  CastCounts counts;
  for (std::size_t row = unit.top; row < unit.bottom; ++row) {
    const std::size_t first = row * job.shape.columns + unit.left;
    const float* values = job.reader.read(first, unit.length, buffer.data());
    std::uint8_t* codes = stream ? code_buffer.data() : job.codes + first;
    if (whole > 0)
      add(counts, job.caster.cast_rows(values, whole, first, row_multipliers.data(),
                                       row_reciprocals.data(), codes));
    for (std::size_t at = whole; at < unit.length;) {
      const std::size_t tile = at / width;
      const std::size_t count = std::min((tile + 1) * width, unit.length) - at;
      add(counts, job.caster.cast(values + at, count, first + at, codes + at, multipliers[tile]));
      at += count;
    }
    if (stream) stream_copy(job.codes + first, codes, unit.length);
  }
  return counts;
}

Result<CastCounts> cast_tiles(const Job& job) {
  const auto height = static_cast<std::size_t>(job.format.rows);
  const auto width = static_cast<std::size_t>(job.format.columns);
  const std::size_t columns = job.shape.columns;
  const std::size_t tiles = std::max<std::size_t>(1, kUnitColumns / width);  // of a unit
  const std::size_t units = ceil_divide(job.shape.scale_columns, tiles);     // side by side
  const bool stream = job.shape.rows * columns * 5 >= kStreamBytes;
  const auto unit_at = [&](std::size_t index) {
    const std::size_t tile_row = index / units;
    const std::size_t first_tile = index % units * tiles;
    const std::size_t top = tile_row * height;
    const std::size_t left = first_tile * width;
    return TileUnit{.tile_row = tile_row,
                    .first_tile = first_tile,
                    .top = top,
                    .bottom = std::min(job.shape.rows, top + height),
                    .left = left,
                    .length = std::min(tiles * width, columns - left)};
  };
  return in_chunks(job.shape.scale_rows * units, kChunk / (height * kUnitColumns),
                   job.options.cast.threads, [&](std::size_t begin, std::size_t end) {
                     CastCounts counts;
                     TileMultipliers multipliers;
                     for (std::size_t index = begin; index < end; ++index) {
                       const TileUnit unit = unit_at(index);
                       scale_tiles(job, unit, multipliers);
                       add(counts, cast_unit(job, unit, multipliers, stream));
                     }
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
      counts = cast_nvfp4(job, amax, path, shape.global_scale);
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
