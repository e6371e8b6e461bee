// Block formats: short runs of narrow elements that share a scale.
//
// An array is seen as rows along its last axis; blocks lie along rows and never cross them, and the last block
// of a row may be short. Scales are stored multipliers for decoding: value = scale * element.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ullage/base/result.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::formats {

// How an MX block's power-of-two scale follows from its largest magnitude. emax: exponent of the element
// format's largest value.
enum class ScaleRule : std::uint8_t {
  floor,  // floor(log2 amax) - emax: OCP MX 1.0, microxcaling, torchao's default
  ceil,   // ceil(log2 amax) - emax: torchao's CEIL
  // amax times FP32's reciprocal of the largest value, rounded up to a power of two: TransformerEngine, cuBLAS,
  // torchao's RCEIL
  round_up,
  even,  // as floor, of amax rounded to the element's mantissa: torchao's EVEN
};
inline constexpr std::array<ScaleRule, 4> kScaleRules = {ScaleRule::floor, ScaleRule::ceil,
                                                         ScaleRule::round_up, ScaleRule::even};

// "floor", "ceil", "round-up" (alias "rceil"), "even"; usage for another name.
const char* name_of(ScaleRule rule);
Result<ScaleRule> scale_rule_from_name(std::string_view name);

// The E8M0 code of an MX block whose largest magnitude is amax. NaN gives NaN (0xFF); infinity 0xFE (2^127)
// under round_up and NaN under the others; zero 0x00 (2^-127), as what lies below the smallest scale.
std::uint8_t mx_scale(ScaleRule rule, const Format& element, float amax);

// Whether a block's own largest magnitude can exceed what its scale lets the element format hold, rounding to
// nearest: with amax / 2^floor(log2 amax) in [from, to) it saturates. Empty (from == to): never.
struct ClipRange {
  double from = 0;
  double to = 0;
  [[nodiscard]] bool empty() const { return from >= to; }
};
ClipRange clip_range(ScaleRule rule, const Format& element);

enum class BlockScale : std::uint8_t {
  e8m0,           // a power of two a block (OCP MX)
  e4m3_and_fp32,  // an E4M3 scale a block, and one FP32 scale for the whole array (NVFP4)
  fp32,  // an FP32 scale a tile of block rows and block columns (DeepSeek, TransformerEngine)
};

struct BlockFormat {
  char name[16] = {};
  Format element;
  BlockScale scale = BlockScale::e8m0;
  int rows = 1;  // of a tile; more than one for fp32 scales only
  int columns = 32;
  [[nodiscard]] constexpr std::string_view label() const { return name; }
};

inline constexpr std::array<BlockFormat, 7> kBlockFormats = {{
    {"mxfp8-e4m3", kE4M3, BlockScale::e8m0, 1, 32},
    {"mxfp8-e5m2", kE5M2, BlockScale::e8m0, 1, 32},
    {"mxfp6-e2m3", kE2M3, BlockScale::e8m0, 1, 32},
    {"mxfp6-e3m2", kE3M2, BlockScale::e8m0, 1, 32},
    {"mxfp4", kE2M1, BlockScale::e8m0, 1, 32},
    {"nvfp4", kE2M1, BlockScale::e4m3_and_fp32, 1, 16},
    {"block128-e4m3", kE4M3, BlockScale::fp32, 128, 128},
}};
// usage for another name, with the names.
Result<BlockFormat> find_block_format(std::string_view name);

struct BlockOptions {
  CastOptions cast;                   // saturate is what every such recipe does
  ScaleRule rule = ScaleRule::floor;  // E8M0 scales
  bool power_of_two = true;           // FP32 scales: TransformerEngine's and DeepSeek's default
};

// What a block cast wrote. Codes lie one a byte, in the array's row-major order.
struct BlockArray {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t scale_rows = 0;     // ceil(rows / block rows)
  std::size_t scale_columns = 0;  // ceil(columns / block columns)
  CastCounts counts;              // in the source's units
  float global_scale = 1;         // NVFP4's; 1 elsewhere
};

// Sizes without casting: how many codes and scales cast_blocks() writes.
Result<BlockArray> block_shape(const ArrayView& source, const BlockFormat& format);

// codes: rows * columns. scale_codes: E8M0 or E4M3 codes; scales: FP32 multipliers, for decoding, with the global
// scale already in them. Either may be empty when not wanted, else scale_rows * scale_columns long.
// FP64 sources are rounded to FP32 first.
Result<BlockArray> cast_blocks(const ArrayView& source, const BlockFormat& format,
                               std::span<std::uint8_t> codes, std::span<std::uint8_t> scale_codes,
                               std::span<float> scales, const BlockOptions& options);

// values = scale * element in FP32 (exact for E8M0 scales but for underflow), rows * columns.
Status decode_blocks(const BlockFormat& format, std::size_t rows, std::size_t columns,
                     std::span<const std::uint8_t> codes, std::span<const float> scales,
                     std::span<float> values);

// Two 4-bit codes a byte, the first in the low half, as PyTorch's float4_e2m1fn_x2 and NVFP4 checkpoints hold them;
// an odd last one alone.
void pack_nibbles(std::span<const std::uint8_t> codes, std::span<std::uint8_t> bytes);
void unpack_nibbles(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> codes);

}  // namespace ullage::formats
