#include "ullage/attention/made.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "attention/elementary.h"
#include "attention/rounder.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/format.h"
#include "ullage/formats/random.h"
#include "ullage/formats/scalar.h"

namespace ullage::attention {

namespace {

constexpr std::array<std::pair<Made, const char*>, 3> kNames = {{
    {Made::normal, "normal"},
    {Made::repeated, "repeated"},
    {Made::adversarial, "adversarial"},
}};

// Streams of the generator, one a tensor.
enum Stream : std::uint32_t { kQ, kK, kV, kGradOutput, kTop, kPlace, kX, kWeight };

constexpr std::uint32_t kDomain =
    0x6D616465;  // apart from stochastic rounding's and the shift's words

void fill_normal(std::vector<float>& out, std::size_t count, std::uint64_t seed, Stream stream,
                 double mean, double spread, int threads = 1) {
  const Generator generator(seed, stream);
  out.resize(count);
  parallel_ranges(count, 4096, threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) out[i] = bf16(mean + spread * generator.normal(i));
  });
}

// dO of one sign, so that its products with a one-signed error of O do not cancel.
void fill_negative(std::vector<float>& out, std::size_t count, std::uint64_t seed) {
  const Generator generator(seed, kGradOutput);
  out.resize(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = bf16(-std::fabs(generator.normal(i)));
}

// `count` different places below `keys` for a row: the first ones of a stream that are new.
std::vector<std::size_t> places(const Generator& generator, std::uint64_t row, std::size_t keys,
                                std::size_t count) {
  std::vector<std::size_t> out;
  for (std::uint64_t draw = row << 20; out.size() < count; ++draw) {
    const auto place =
        static_cast<std::size_t>(generator.uniform(draw) * static_cast<double>(keys));
    if (std::find(out.begin(), out.end(), place) == out.end()) out.push_back(place);
  }
  return out;
}

// Shape, Q and scale of inputs whose scores are their keys.
StudyInputs given_scores(const RepeatedOptions& options) {
  StudyInputs inputs;
  inputs.shape = {1,
                  options.heads,
                  options.heads,
                  options.queries,
                  options.keys,
                  options.queries,
                  options.value_width};
  inputs.scale = 1;
  inputs.q.assign(options.heads * options.queries * options.queries, 0.0F);
  for (std::size_t h = 0; h < options.heads; ++h) {
    for (std::size_t i = 0; i < options.queries; ++i)
      inputs.q[(h * options.queries + i) * options.queries + i] = 1;
  }
  const std::size_t values = options.heads * options.keys * options.value_width;
  fill_normal(inputs.v, values, options.seed, kV, options.value_mean, options.value_spread,
              options.threads);
  fill_negative(inputs.grad_output, options.heads * options.queries * options.value_width,
                options.seed);
  return inputs;
}

// Writes row i of head h: repeats at the top, the rest around top - depth.
void plant_row(StudyInputs& inputs, const RepeatedOptions& options, std::size_t head,
               std::size_t query, float top, const std::vector<std::size_t>& at) {
  const Generator generator(options.seed, kK);
  const std::size_t row = head * options.queries + query;
  const float below = bf16(std::nextafter(top, -HUGE_VALF) - std::fabs(top) * 0x1p-8F);
  for (std::size_t j = 0; j < options.keys; ++j) {
    const double noise = generator.normal(row * options.keys + j);
    const float score = std::min(bf16(static_cast<double>(top) - options.depth + noise), below);
    inputs.k[(head * options.keys + j) * options.queries + query] = score;
  }
  for (const std::size_t j : at)
    inputs.k[(head * options.keys + j) * options.queries + query] = top;
}

Status check_repeated(const RepeatedOptions& o) {
  if (o.queries == 0 || o.queries > kMaxWidth || o.value_width == 0 || o.value_width > kMaxWidth)
    return Error{Code::value_invalid,
                 "queries and value width must lie in [1, 256]",
                 "made inputs",
                 {},
                 std::to_string(o.queries) + " and " + std::to_string(o.value_width)};
  if (o.heads == 0 || o.keys == 0 || o.repeats > o.keys / 2 || o.heads * o.keys > (1U << 24))
    return Error{Code::value_invalid,
                 "needs at least one head, two keys a repeat, and at most 2^24 keys in all",
                 "made inputs",
                 {},
                 std::to_string(o.heads) + " heads, " + std::to_string(o.keys) + " keys, " +
                     std::to_string(o.repeats) + " repeats"};
  return {};
}

StudyInputs make_normal(std::size_t heads, std::uint64_t seed) {
  StudyInputs inputs;
  inputs.shape = {1, heads, heads, 1024, 1024, 64, 64};
  inputs.mask = causal();
  const std::size_t count = heads * 1024 * 64;
  fill_normal(inputs.q, count, seed, kQ, 0, 1);
  fill_normal(inputs.k, count, seed, kK, 0, 1);
  fill_normal(inputs.v, count, seed, kV, 0, 1);
  fill_normal(inputs.grad_output, count, seed, kGradOutput, 0, 1);
  return inputs;
}

// Heads take turns: a maximum that all rows share in the depth where a shared shift hurts a fused
// kernel; maxima far past the range of exp; 0, which beta does not move; a negative one; repeats
// 512 keys apart, in different tiles; a maximum near FP32's largest integers.
StudyInputs make_adversarial(std::size_t heads, std::uint64_t seed) {
  struct Attack {
    float top;
    double depth;
    bool apart;
  };
  constexpr std::array<Attack, 6> kAttacks = {{{4, 22, false},
                                               {128, 18, false},
                                               {0, 18, false},
                                               {-5, 18, false},
                                               {4, 18, true},
                                               {16777216, 18, false}}};
  RepeatedOptions options;
  options.heads = heads;
  options.seed = seed;
  StudyInputs inputs = given_scores(options);
  inputs.k.resize(heads * options.keys * options.queries);
  const Generator generator(seed, kPlace);
  for (std::size_t h = 0; h < heads; ++h) {
    const Attack& attack = kAttacks[h % kAttacks.size()];
    options.depth = attack.depth;
    for (std::size_t i = 0; i < options.queries; ++i) {
      auto at = places(generator, h * options.queries + i, options.keys / 2, 2);
      if (attack.apart) at[1] = at[0] + options.keys / 2;
      plant_row(inputs, options, h, i, attack.top, at);
    }
  }
  return inputs;
}

}  // namespace

double Generator::uniform(std::uint64_t index) const {
  const auto words = formats::philox({static_cast<std::uint32_t>(index),
                                      static_cast<std::uint32_t>(index >> 32), stream_, kDomain},
                                     seed_);
  return static_cast<double>(words[2]) * formats::power_of_two(-32);
}

double Generator::normal(std::uint64_t index) const {
  const auto words = formats::philox({static_cast<std::uint32_t>(index),
                                      static_cast<std::uint32_t>(index >> 32), stream_, kDomain},
                                     seed_);
  const double radius = (static_cast<double>(words[0]) + 0.5) * formats::power_of_two(-32);
  const double turn = static_cast<double>(words[1]) * formats::power_of_two(-32);
  return std::sqrt(-2 * log_of(radius)) * cos_of_turn(turn);
}

Inputs<float> StudyInputs::view() const {
  Inputs<float> inputs;
  inputs.shape = shape;
  inputs.q = contiguous(q.data(), shape.query_heads, shape.queries, shape.width);
  inputs.k = contiguous(k.data(), shape.kv_heads, shape.keys, shape.width);
  inputs.v = contiguous(v.data(), shape.kv_heads, shape.keys, shape.value_width);
  inputs.mask = mask;
  inputs.scale = scale;
  inputs.soft_cap = soft_cap;
  return inputs;
}

Status check(const StudyInputs& inputs) {
  ULLAGE_TRY(check(inputs.view()));
  const Shape& shape = inputs.shape;
  const std::size_t rows = shape.batch * shape.query_heads * shape.queries;
  const std::size_t keys = shape.batch * shape.kv_heads * shape.keys;
  const auto size = [](std::size_t found, std::size_t expected, const char* where) -> Status {
    if (found == expected) return {};
    return Error{Code::size_mismatch, "has the wrong number of elements", where,
                 std::to_string(expected), std::to_string(found)};
  };
  ULLAGE_TRY(size(inputs.q.size(), rows * shape.width, "q"));
  ULLAGE_TRY(size(inputs.k.size(), keys * shape.width, "k"));
  ULLAGE_TRY(size(inputs.v.size(), keys * shape.value_width, "v"));
  if (!inputs.grad_output.empty())
    ULLAGE_TRY(size(inputs.grad_output.size(), rows * shape.value_width, "grad_output"));
  if (!inputs.x.empty())
    ULLAGE_TRY(size(inputs.x.size(), shape.batch * shape.queries * inputs.model_width, "x"));
  return {};
}

const char* name_of(Made made) {
  for (const auto& [value, name] : kNames) {
    if (value == made) return name;
  }
  return "unknown";
}

Result<Made> made_from_name(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (known == name) return value;
  }
  return Error{Code::usage,
               "no made inputs have this name",
               std::string(name),
               "normal, repeated or adversarial",
               {}};
}

Result<StudyInputs> make_repeated(const RepeatedOptions& options) {
  ULLAGE_TRY(check_repeated(options));
  StudyInputs inputs = given_scores(options);
  inputs.k.resize(options.heads * options.keys * options.queries);
  const Generator tops(options.seed, kTop);
  const Generator generator(options.seed, kPlace);
  parallel_for(options.heads, options.threads, [&](std::size_t h, int) {
    for (std::size_t i = 0; i < options.queries; ++i) {
      const std::size_t row = h * options.queries + i;
      const double spread = options.top_spread * (2 * tops.uniform(row) - 1);
      plant_row(inputs, options, h, i, bf16(options.top + spread),
                places(generator, row, options.keys, options.repeats));
    }
  });
  return inputs;
}

Result<StudyInputs> make(Made made, std::size_t heads, std::uint64_t seed) {
  if (heads == 0 || heads > 4096)
    return Error{Code::value_invalid, "must lie in [1, 4096]", "heads", {}, std::to_string(heads)};
  switch (made) {
    case Made::normal:
      return make_normal(heads, seed);
    case Made::adversarial:
      return make_adversarial(heads, seed);
    case Made::repeated:
      break;
  }
  RepeatedOptions options;
  options.heads = heads;
  options.seed = seed;
  return make_repeated(options);
}

}  // namespace ullage::attention
