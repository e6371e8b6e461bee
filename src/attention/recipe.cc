#include "ullage/attention/recipe.h"

#include <initializer_list>

namespace ullage::attention {

namespace {

// Every recipe of the library. A function, since Recipe holds strings.
struct Entry {
  const char* name;
  Recipe (*make)();
};
constexpr std::array<Entry, 7> kRecipes = {{{"fp64", fp64},
                                            {"fp32", fp32},
                                            {"bf16-flash", bf16_flash},
                                            {"bf16-paper", bf16_paper},
                                            {"bf16-standard", bf16_standard},
                                            {"fp16", fp16},
                                            {"fp8-e4m3", fp8_e4m3}}};

void keep(Recipe& recipe, const formats::Format& format,
          std::initializer_list<Quantity> quantities) {
  for (const Quantity quantity : quantities) recipe[quantity].format = format;
}

void add_in_blocks(Recipe& recipe, std::size_t block) {
  recipe.scores.block = block;
  recipe.row_sum.block = block;
  recipe.output.block = block;
  recipe.gradients.block = block;
}

// Fused kernels: 16-bit operands of every matrix product, FP32 for all that stays on the chip, one
// rounding of each result (FlashAttention-2 and -3, csrc/flash_attn and hopper/).
Recipe fused(const formats::Format& format) {
  Recipe recipe;
  add_in_blocks(recipe, kMmaDepth);
  using enum Quantity;
  keep(recipe, format, {q, k, v, grad_output, weight, output, probability, grad_score, gradient});
  return recipe;
}

}  // namespace

Recipe fp64() {
  Recipe recipe;
  recipe.name = "fp64";
  recipe.source = "IEEE binary64 throughout: what the others are compared with";
  recipe.arithmetic = Arithmetic::fp64;
  return recipe;
}

Recipe fp32() {
  Recipe recipe;
  recipe.name = "fp32";
  recipe.source = "IEEE binary32 throughout";
  return recipe;
}

Recipe bf16_flash() {
  Recipe recipe = fused(formats::kBf16);
  recipe.name = "bf16-flash";
  recipe.source =
      "FlashAttention-2 and -3 (arXiv 2307.08691, 2407.08608): BF16 operands, FP32 softmax and "
      "accumulators, the row sum from unrounded P-bar, one rounding of O, dQ, dK and dV";
  return recipe;
}

// The forward is the authors' tensor code under autocast: what a matrix product returns is BF16, and
// so are the buffers of O and l; exp and sum run in FP32; S - m is formed in FP32 by the compiler
// (set `difference` to BF16 for eager mode). A library's product adds keys in panels of a few
// hundred: with longer chains, or shorter ones beside a maximum, tails below 1e-6 drop out of the
// FP32 sum and the bias with them. The backward takes the clean rule set: BF16 operands, FP32 sums,
// one rounding; set `running_gradient` to BF16 for their buffers.
Recipe bf16_paper() {
  Recipe recipe;
  recipe.name = "bf16-paper";
  recipe.source = "public code of [F] (arXiv 2510.04212): plain tensor operations in BF16 autocast";
  recipe.tiles = {512, 512};
  recipe.gradient_scale = GradientScale::grad_score;
  recipe.sum_floor = 1e-10;
  add_in_blocks(recipe, kMmaDepth);
  recipe.row_sum.block = kPanelDepth;
  recipe.output.block = kPanelDepth;
  using enum Quantity;
  keep(recipe, formats::kBf16,
       {q, k, v, grad_output, product, score, subtrahend, weight, running_sum, tile_output,
        running_output, output, probability, grad_probability, grad_score, gradient});
  return recipe;
}

// softmax returns FP32 P, which is rounded on entry to P V; its backward is P o (dP - rowsum(dP o P)).
Recipe bf16_standard() {
  Recipe recipe;
  recipe.name = "bf16-standard";
  recipe.source = "matrix product, softmax, matrix product under BF16 autocast (PyTorch's rules)";
  recipe.order = Order::two_pass;
  recipe.delta_source = DeltaSource::probability;
  recipe.gradient_scale = GradientScale::grad_score;
  recipe.tiles = {512, 0};
  add_in_blocks(recipe, kMmaDepth);
  using enum Quantity;
  keep(recipe, formats::kBf16,
       {q, k, v, grad_output, product, score, weight, output, probability, grad_probability,
        grad_score, gradient});
  return recipe;
}

Recipe fp16() {
  Recipe recipe = fused(formats::kFp16);
  recipe.name = "fp16";
  recipe.source = "FlashAttention-2 and -3 with FP16 operands";
  return recipe;
}

// P = exp2(.. + 8) uses E4M3 up to 256 of 448; l is scaled alike, L is not. Operands saturate
// (cvt.satfinite); an MMA adds 32 FP8 products at once. There is no FP8 backward: gradients go
// straight through the rounded operands, unrounded.
Recipe fp8_e4m3() {
  Recipe recipe;
  recipe.name = "fp8-e4m3";
  recipe.source =
      "FlashAttention-3 (hopper/softmax.h, flash_fwd_kernel_sm90.h): E4M3 operands with "
      "descales, FP32 scores and sums, P in E4M3 times 2^8, BF16 output";
  recipe.weight_exponent = 8;
  add_in_blocks(recipe, 2 * kMmaDepth);
  using enum Quantity;
  keep(recipe, formats::kE4M3, {q, k, v, weight});
  for (const Quantity quantity : {q, k, v, weight})
    recipe[quantity].overflow = formats::Overflow::saturate;
  keep(recipe, formats::kBf16, {output});
  return recipe;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  names.reserve(kRecipes.size());
  for (const Entry& entry : kRecipes) names.emplace_back(entry.name);
  return names;
}

Result<Recipe> find_recipe(std::string_view name) {
  std::string known;
  for (const Entry& entry : kRecipes) {
    if (name == entry.name) return entry.make();
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return Error{Code::usage, "no attention recipe has this name", std::string(name), known, {}};
}

}  // namespace ullage::attention
