#include "ullage/attention/biased_rounding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "ullage/formats/scalar.h"

namespace ullage::attention {

namespace {

constexpr std::size_t kRowsPerHead = 64;

// --- the bit-exact addition ---

constexpr float kFirst = -2.40625F;    // 0xC01A0000
constexpr float kSecond = -2.296875F;  // 0xC0130000
// exp(-7.59375) rounds to 132 x 2^-18 in BF16; times -1.71875 it is the published remainder, exactly
// -1815 x 2^-21.
constexpr float kTailScore = -7.59375F;
constexpr float kTailValue = -1.71875F;
constexpr double kPublishedWith = -0.014759540557861328;
constexpr double kPublishedWithout = 0.015625;

StudyInputs addition_inputs(bool remainder) {
  StudyInputs inputs;
  const std::size_t keys = remainder ? 3 : 2;
  inputs.shape = {1, 1, 1, 1, keys, 1, 1};
  inputs.scale = 1;
  inputs.q = {1};
  inputs.k = {0, 0};
  inputs.v = {kFirst, kSecond};
  if (remainder) {
    inputs.k.push_back(kTailScore);
    inputs.v.push_back(kTailValue);
  }
  return inputs;
}

Result<double> addition_error(bool remainder) {
  const StudyInputs inputs = addition_inputs(remainder);
  float output = 0;
  float rounded = 0;
  float sum = 0;
  Outputs<float> outputs;
  outputs.output = {&output};
  outputs.unnormalised = {&rounded};
  outputs.unnormalised_twin = {&sum};
  ULLAGE_TRY(forward(inputs.view(), bf16_paper(), {}, outputs));
  return static_cast<double>(rounded) - static_cast<double>(sum);
}

// --- the law ---

// The published micro-benchmark: mean error of P-bar V in ulp and of delta, standard softmax and beta
// 2. Depths 16 to 22 are published as a range, its ends given here to its end depths.
struct Published {
  std::size_t repeats;
  double depth;
  std::optional<double> unnormalised;
  std::optional<double> delta;
  std::optional<double> moved_unnormalised;  // with beta = 2
  std::optional<double> moved_delta;
};
constexpr std::array<Published, 11> kPublished = {{
    {1, 14, 0.25, 0.0008, {}, {}},
    {1, 16, 0.03, 0.0000, {}, {}},
    {2, 10, 0.003, -0.005, 0.000, -0.040},
    {2, 12, {}, {}, {}, {}},
    {2, 14, -0.125, 0.198, -0.002, -0.021},
    {2, 16, -0.234, 0.200, 0.00, -0.02},
    {2, 18, {}, 0.200, 0.00, {}},
    {2, 22, -0.248, 0.200, 0.00, -0.03},
    {2, 30, 0.002, -0.002, 0.00, -0.02},
    {3, 18, -0.151, 0.137, 0.00, -0.04},
    {4, 18, -0.124, 0.098, 0.00, -0.04},
}};

struct Variant {
  const char* label;
  ShiftRule rule;
  double top_spread;
};
constexpr std::array<Variant, 4> kVariants = {{
    {"standard", ShiftRule::standard, 0},
    {"published", ShiftRule::published, 0},
    {"published, varying m", ShiftRule::published, 2},
    {"stabilised", ShiftRule::stabilised, 0},
}};

// Other values: no bias where signs are mixed, and a second one-signed case. D 18, standard.
struct OtherValues {
  const char* label;
  double mean;
  double spread;
  std::size_t repeats;
  double unnormalised;
  std::optional<double> delta;
};
constexpr std::array<OtherValues, 2> kOtherValues = {{
    {"standard, V N(0, 2)", 0, 2, 2, 0, 0},
    {"standard, V N(-2, 0.5)", -2, 0.5, 2, -0.208, 0.12},
}};

std::string number(double x) {
  std::string text = std::to_string(x);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// l unrounded, as the published micro-benchmark has it.
Recipe with_unrounded_sum(Recipe recipe) {
  recipe[Quantity::running_sum] = {};
  return recipe;
}

Result<StudyInputs> inputs_of(const BiasedCase& biased, const BiasedOptions& options) {
  RepeatedOptions made;
  made.heads = std::max<std::size_t>(1, options.rows / kRowsPerHead);
  made.queries = kRowsPerHead;
  made.value_width = options.features;
  made.repeats = biased.repeats;
  made.depth = biased.depth;
  made.top_spread = biased.top_spread;
  made.value_mean = biased.value_mean;
  made.value_spread = biased.value_spread;
  made.seed = options.seed;
  made.threads = options.threads;
  return make_repeated(made);
}

// All keys in one tile, as [F]'s sum is one product.
Result<StudyCase> study_whole(const StudyInputs& inputs, const Recipe& recipe, Shift shift,
                              const BiasedOptions& options) {
  shift.seed = options.seed;
  return study(inputs, recipe, {.shift = shift, .tiles = Tiles{0, 0}, .threads = options.threads});
}

class Table {
 public:
  explicit Table(const BiasedOptions& options) : options_(options) {}

  // The rows of one recipe, shift and case.
  Status add(const StudyInputs& inputs, const Recipe& recipe, const BiasedCase& biased,
             std::string_view label, std::optional<double> unnormalised,
             std::optional<double> delta) {
    const std::string name = recipe.name + ", k " + std::to_string(biased.repeats) + ", D " +
                             number(biased.depth) + ", " + std::string(label) + ": ";
    ULLAGE_ASSIGN(const StudyCase found, study_whole(inputs, recipe, biased.shift, options_));
    if (found.lost_rows != 0)
      return Error{Code::not_finite, "rows lost their sum", name, "0",
                   std::to_string(found.lost_rows)};
    if (recipe[Quantity::tile_output].format) {
      ULLAGE_ASSIGN(const StudyCase exact_sum,
                    study_whole(inputs, with_unrounded_sum(recipe), biased.shift, options_));
      push(name + "unnormalised ulp", unnormalised, exact_sum.unnormalised);
      push(name + "delta", delta, exact_sum.delta);
    } else {
      push(name + "delta", {}, found.delta);
    }
    push(name + "output ulp", {}, found.output);
    return {};
  }

  std::vector<ValueRow> rows() && { return std::move(rows_); }

 private:
  void push(std::string quantity, std::optional<double> published, const SignedError& error) {
    rows_.push_back({std::move(quantity), published, error.mean,
                     Interval{error.lower(), error.upper()}, error.count});
  }

  BiasedOptions options_;
  std::vector<ValueRow> rows_;
};

// Every shift and recipe of one line of the published table, on the same inputs.
Status add_line(Table& table, const Published& published, const BiasedOptions& options) {
  for (const Variant& variant : kVariants) {
    BiasedCase biased;
    biased.repeats = published.repeats;
    biased.depth = published.depth;
    biased.shift.rule = variant.rule;
    biased.top_spread = variant.top_spread;
    ULLAGE_ASSIGN(const StudyInputs inputs, inputs_of(biased, options));
    const bool standard = variant.rule == ShiftRule::standard;
    const bool moved = variant.rule == ShiftRule::published && variant.top_spread == 0;
    const std::optional<double> none;
    const auto unnormalised = standard ? published.unnormalised
                              : moved  ? published.moved_unnormalised
                                       : none;
    const auto delta = standard ? published.delta : moved ? published.moved_delta : none;
    ULLAGE_TRY(table.add(inputs, bf16_paper(), biased, variant.label, unnormalised, delta));
    ULLAGE_TRY(table.add(inputs, bf16_flash(), biased, variant.label, none, none));
  }
  return {};
}

}  // namespace

Result<std::vector<ValueRow>> rounding_vector() {
  ULLAGE_ASSIGN(const double with, addition_error(true));
  ULLAGE_ASSIGN(const double without, addition_error(false));
  return std::vector<ValueRow>{{"error with remainder", kPublishedWith, with},
                               {"error without remainder", kPublishedWithout, without}};
}

Result<std::vector<AdditionStep>> rounding_vector_steps() {
  ULLAGE_ASSIGN(const std::vector<float> terms,
                terms_of(addition_inputs(true), bf16_paper(), {}, 0, 0, 0));
  return trace_addition(terms);
}

Result<StudyCase> measure_biased(const BiasedCase& biased, const Recipe& recipe,
                                 const BiasedOptions& options) {
  ULLAGE_ASSIGN(const StudyInputs inputs, inputs_of(biased, options));
  return study_whole(inputs, recipe, biased.shift, options);
}

Result<std::vector<ValueRow>> biased_rounding(const BiasedOptions& options) {
  Table table(options);
  for (const Published& published : kPublished) ULLAGE_TRY(add_line(table, published, options));
  for (const OtherValues& other : kOtherValues) {
    BiasedCase biased;
    biased.repeats = other.repeats;
    biased.value_mean = other.mean;
    biased.value_spread = other.spread;
    ULLAGE_ASSIGN(const StudyInputs inputs, inputs_of(biased, options));
    ULLAGE_TRY(
        table.add(inputs, bf16_paper(), biased, other.label, other.unnormalised, other.delta));
  }
  return std::move(table).rows();
}

}  // namespace ullage::attention
