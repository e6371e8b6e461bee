// Inputs of a study: owned tensors, and made ones from a counter-based generator.
//
// The same options give the same bits on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ullage/attention/problem.h"
#include "ullage/base/result.h"

namespace ullage::attention {

struct StudyInputs {
  Shape shape;
  // (batch, head, row, column) without gaps.
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;
  std::vector<float> grad_output;  // dO; may be empty: then nothing is said of delta
  // What W_Q was applied to, (batch, row, column) with model_width columns; may be empty: then the
  // weight gradient's error is judged by its P K factor alone.
  std::vector<float> x;
  std::size_t model_width = 0;
  Mask mask = {};
  std::optional<double> scale = {};
  double soft_cap = 0;

  [[nodiscard]] Inputs<float> view() const;
};

// size_mismatch for sizes that do not fit the shape; else as check() of a problem.
Status check(const StudyInputs& inputs);

// Standard normal numbers and fair words by index.
class Generator {
 public:
  // Streams of one seed are independent of each other.
  Generator(std::uint64_t seed, std::uint32_t stream) : seed_(seed), stream_(stream) {}

  [[nodiscard]] double normal(std::uint64_t index) const;   // Box-Muller, FP64
  [[nodiscard]] double uniform(std::uint64_t index) const;  // [0, 1), multiples of 2^-32

 private:
  std::uint64_t seed_;
  std::uint32_t stream_;
};

enum class Made : std::uint8_t {
  normal,       // Q, K, V, dO ~ N(0, 1): no repeats, no bias to be found
  repeated,     // every row's maximum repeated, V of one sign: the failure of [F]
  adversarial,  // repeated maxima that are shared, huge, zero, negative or in different tiles
};

// "normal", "repeated", "adversarial"; usage for another name.
const char* name_of(Made made);
Result<Made> made_from_name(std::string_view name);

// Rows of scores that are given, not found: query i of a head is the unit vector i, key j holds the
// scores of all queries against it, and the scale is 1, so S = K^T exactly. queries = width.
struct RepeatedOptions {
  std::size_t heads = 64;
  std::size_t queries = 64;
  std::size_t keys = 1024;
  std::size_t value_width = 64;
  std::size_t repeats = 2;   // keys that hold the maximum, at random places of each row
  double top = 4;            // the maximum
  double top_spread = 0;     // row maxima uniform in top +- this
  double depth = 18;         // the other scores: N(top - depth, 1), cut below the maximum
  double value_mean = -2.8;  // V ~ N(mean, spread)
  double value_spread = 0.3;
  std::uint64_t seed = 1;
  int threads = 1;  // 0: default_threads(). Never changes a bit.
};

// Scores and values rounded to BF16; dO = -|N(0, 1)|. value_invalid for sizes that are 0, too large, or
// hold no room for the repeats.
Result<StudyInputs> make_repeated(const RepeatedOptions& options);

// A layer like the one that fails in [F]: heads whose queries all look at a sink that several keys
// hold, where a few features of V and of dO have one sign, and tokens x that share a direction.
struct PlantedOptions {
  std::size_t batch = 4;
  std::size_t tokens = 256;
  std::size_t model_width = 128;
  std::size_t heads = 4;
  std::size_t planted_heads = 2;  // the first ones; the others are normal
  std::size_t width = 64;
  std::size_t copies = 2;    // of the sink's key, at the first tokens
  double depth = 14;         // of the other scores below the sink's, about
  std::size_t features = 8;  // one-signed, the first ones
  double value_mean = -2.5;  // of those; the others N(0, 1)
  double value_spread = 0.5;
  std::uint64_t seed = 1;
};

// Causal; tensors rounded to BF16. value_invalid for sizes that do not fit each other.
Result<StudyInputs> make_planted(const PlantedOptions& options);

// By kind; shape: heads x 64 queries, 1024 keys (normal: 1024 queries, causal), widths 64.
// value_invalid unless 1 <= heads <= 4096.
Result<StudyInputs> make(Made made, std::size_t heads, std::uint64_t seed);

}  // namespace ullage::attention
