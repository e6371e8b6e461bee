// Recipes: in which format, and rounded how, each quantity of tiled attention is kept.
//
// The reference computes in FP32 (or FP64) and rounds each quantity where its recipe says so; a
// quantity without a format stays as the arithmetic made it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::attention {

enum class Quantity : std::uint8_t {
  q,  // operands, on entry
  k,
  v,
  grad_output,
  product,           // Q K^T as the matrix product leaves it
  score,             // S, after scale, soft cap and bias
  subtrahend,        // m: the running row maximum, or what the shift puts in its place
  difference,        // S - m
  exponential,       // P-bar = exp(S - m)
  weight,            // P-bar as it enters P-bar V
  tile_sum,          // row sum of P-bar over one tile
  running_sum,       // l
  rescale,           // exp(m_old - m_new)
  tile_output,       // Z = P-bar V of one tile
  running_output,    // O before it is divided by l
  output,            // O
  log_sum_exp,       // L = log l + m
  probability,       // P = exp(S - L), as it enters P^T dO
  grad_probability,  // dP = dO V^T
  delta,
  grad_score,        // dS, as it enters dS K and dS^T Q
  running_gradient,  // dQ, dK, dV after each tile
  gradient,          // dQ, dK, dV
};
inline constexpr std::size_t kQuantities = 23;

// How a quantity is kept.
struct Store {
  std::optional<formats::Format> format;  // none: as computed
  formats::Rounding rounding = formats::Rounding::nearest_even;
  formats::Overflow overflow = formats::Overflow::non_saturating;
};

// In which order terms are added: ascending by key (by column for scores), in blocks of `block`
// terms that each start from 0 and are then added to the total; 0: one chain. Each product is
// rounded to the arithmetic, then added: no fused operation. `store` rounds after each addition.
struct Accumulation {
  std::size_t block = 0;
  Store store = {};
};

enum class Arithmetic : std::uint8_t { fp32, fp64 };

// How the row is normalised.
enum class Order : std::uint8_t {
  online,    // P-bar V tile by tile, divided by l at the end
  two_pass,  // m and l of the whole row first; `weight` rounds P = P-bar / l (unfused attention)
};

// Which P-bar the row sum l adds up.
enum class Denominator : std::uint8_t { unrounded, rounded };

// What delta is computed from in the backward pass.
enum class DeltaSource : std::uint8_t {
  output,       // rowsum(dO o O), O as stored
  twin,         // rowsum(dO o O), O from the same `weight` with nothing rounded after it
  recomputed,   // rowsum(dO o P V), P = exp(S - L) not rounded
  probability,  // rowsum(dP o P)
};

// Where the score scale enters dQ and dK.
enum class GradientScale : std::uint8_t { grad_score, gradient };

// Rows and keys of a tile; 0: all of them.
struct Tiles {
  std::size_t queries = 128;
  std::size_t keys = 128;
};

struct Recipe {
  std::string name;
  std::string source;  // where the rounding points come from
  Arithmetic arithmetic = Arithmetic::fp32;
  Order order = Order::online;
  Denominator denominator = Denominator::unrounded;
  DeltaSource delta_source = DeltaSource::output;
  GradientScale gradient_scale = GradientScale::gradient;
  Tiles tiles;
  int weight_exponent = 0;  // P-bar is kept times 2^this, and so is l
  double sum_floor = 0;     // a tile's row sum is raised to it
  std::array<Store, kQuantities> stores = {};
  Accumulation scores = {};     // sums over columns: Q K^T, dO V^T
  Accumulation row_sum = {};    // sums over keys: l
  Accumulation output = {};     // sums over keys: P-bar V
  Accumulation gradients = {};  // sums over keys or queries: dQ, dK, dV
  std::uint64_t seed = 0;       // of stochastic rounding, where a store asks for it

  Store& operator[](Quantity quantity) { return stores[static_cast<std::size_t>(quantity)]; }
  const Store& operator[](Quantity quantity) const {
    return stores[static_cast<std::size_t>(quantity)];
  }
};

// Keys that one tensor-core instruction adds at once for BF16 operands (m16n8k16 on sm_80, k16 on
// sm_90): the block of the GPU recipes' sums.
inline constexpr std::size_t kMmaDepth = 16;
// Terms that a library's FP32 matrix product or sum adds before it turns to the next panel.
inline constexpr std::size_t kPanelDepth = 256;

Recipe fp64();
Recipe fp32();
Recipe bf16_flash();     // fused BF16 kernels on GPUs
Recipe bf16_paper();     // the public code of [F]
Recipe bf16_standard();  // unfused attention under BF16 autocast
Recipe fp16();           // fused FP16 kernels on GPUs
Recipe fp8_e4m3();       // FlashAttention-3's FP8 forward

std::vector<std::string> recipe_names();
// usage for a name that is not among recipe_names(), which the error lists.
Result<Recipe> find_recipe(std::string_view name);

}  // namespace ullage::attention
