// Power iteration from below against singular values of the products it never forms.
#include "ullage/spectrum/power_iteration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <random>

#include "spectrum/made_rows.h"
#include "spectrum/matvec.h"
#include "spectrum/paths.h"
#include "ullage/base/parallel.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::spectrum {
namespace {

// A layer of made heads, and M = sum over heads of A_h^T B_(h / group) in FP64.
struct MadeLayer {
  std::deque<MadeRows> owned;
  std::vector<HeadRows> queries;
  std::vector<HeadRows> keys;
  Matrix product;

  MadeLayer(int query_heads, int key_heads, int rows, int query_width, int key_width,
            Element element, std::mt19937_64& random)
      : product(query_width, key_width) {
    const auto weights = [](const MadeRows& made) {
      Matrix out(made.rows.rows, made.rows.width);
      for (int i = 0; i < out.rows(); ++i) {
        for (int j = 0; j < out.columns(); ++j) out(i, j) = static_cast<double>(made.weight(i, j));
      }
      return out;
    };
    for (int h = 0; h < query_heads; ++h) {
      queries.push_back(owned
                            .emplace_back(gaussian(rows, query_width, random), element,
                                          std::vector<double>{}, false)
                            .rows);
    }
    for (int g = 0; g < key_heads; ++g) {
      keys.push_back(owned
                         .emplace_back(gaussian(rows, key_width, random), element,
                                       std::vector<double>{}, false)
                         .rows);
    }
    for (int h = 0; h < query_heads; ++h) {
      const Matrix one = transposed_multiply(
          weights(owned[static_cast<std::size_t>(h)]),
          weights(owned[static_cast<std::size_t>(query_heads + h / (query_heads / key_heads))]));
      for (int i = 0; i < query_width; ++i) {
        for (int j = 0; j < key_width; ++j) product(i, j) += one(i, j);
      }
    }
  }
  [[nodiscard]] double sigma() const { return singular_values(product)[0]; }
};

using PowerOnPath = PerPath;
INSTANTIATE_TEST_SUITE_P(Paths, PowerOnPath, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(PowerOnPath, ProductsMatchDouble) {
  std::mt19937_64 random(1);
  for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
    for (const auto& [rows, width] : {std::pair{1, 1}, {5, 31}, {16, 64}, {7, 129}, {33, 300}}) {
      const MadeRows made(gaussian(rows, width, random), element, {}, false);
      for (const int block : {1, kMatvecBlock}) {
        const Matrix x = gaussian(block, width, random);
        const Matrix y = gaussian(rows, block, random);
        std::vector<float> in(x.data(), x.data() + block * width);
        std::vector<float> back(y.data(), y.data() + block * rows);
        std::vector<float> out(static_cast<std::size_t>(rows * block));
        std::vector<float> sum(static_cast<std::size_t>(width * block), 1.0F);
        multiply_rows(made.rows, in.data(), block, out.data());
        add_transposed_rows(made.rows, back.data(), block, sum.data());
        for (int v = 0; v < block; ++v) {
          for (int r = 0; r < rows; ++r) {
            long double want = 0;
            for (int c = 0; c < width; ++c)
              want += made.weight(r, c) * in[static_cast<std::size_t>(v * width + c)];
            ASSERT_NEAR(out[static_cast<std::size_t>(r * block + v)], static_cast<double>(want),
                        1e-4);
          }
          for (int c = 0; c < width; ++c) {
            long double want = 1;
            for (int r = 0; r < rows; ++r)
              want += made.weight(r, c) * back[static_cast<std::size_t>(r * block + v)];
            ASSERT_NEAR(sum[static_cast<std::size_t>(v * width + c)], static_cast<double>(want),
                        1e-4);
          }
        }
      }
    }
  }
}

TEST_P(PowerOnPath, VectorsOfBf16MatchDouble) {
  std::mt19937_64 random(11);
  for (const Element element : {Element::bf16, Element::f32}) {
    for (const auto& [rows, width] :
         {std::pair{1, 1}, {5, 31}, {16, 64}, {7, 1025}, {33, 2048}, {4, 3000}}) {
      const MadeRows made(gaussian(rows, width, random), element, {}, false);
      // Weights of a made head rounded to BF16 are vectors that BF16 holds.
      const MadeRows vectors(gaussian(kMatvecBlock, width, random), Element::bf16, {}, false);
      std::vector<float> in;
      for (int v = 0; v < kMatvecBlock; ++v)
        for (int c = 0; c < width; ++c) in.push_back(static_cast<float>(vectors.weight(v, c)));
      std::vector<float> out(static_cast<std::size_t>(rows * kMatvecBlock), 99.0F);
      multiply_rows_bf16(made.rows, in.data(), out.data());
      for (int v = 0; v < kMatvecBlock; ++v) {
        for (int r = 0; r < rows; ++r) {
          long double want = 0;
          for (int c = 0; c < width; ++c) want += made.weight(r, c) * vectors.weight(v, c);
          ASSERT_NEAR(out[static_cast<std::size_t>(r * kMatvecBlock + v)],
                      static_cast<double>(want), 1e-6 * width);
        }
      }
    }
  }
}

TEST_P(PowerOnPath, HeadFromBelowAndWarm) {
  std::mt19937_64 random(2);
  const MadeLayer layer(1, 1, 24, 90, 70, Element::bf16, random);
  const double sigma = layer.sigma();
  PowerState state;
  double before = 0.0;
  for (int call = 0; call < 8; ++call) {
    const double value = power_iteration(layer.queries[0], layer.keys[0], 4, state);
    EXPECT_LE(value, sigma * (1.0 + 1e-12));
    EXPECT_GE(value, before * (1.0 - 1e-6));
    before = value;
  }
  PowerState fresh;
  const double cold = power_iteration(layer.queries[0], layer.keys[0], 2, fresh);
  EXPECT_NEAR(before, sigma, 1e-3 * sigma);
  EXPECT_LT(cold, before);
  // A small step of the weights: one warm iteration is as good as before.
  MadeRows moved = [&] {
    Matrix weights(24, 90);
    for (int i = 0; i < 24; ++i) {
      for (int j = 0; j < 90; ++j)
        weights(i, j) =
            static_cast<double>(layer.owned[0].weight(i, j)) * (1.0 + 0.01 * std::sin(i + j));
    }
    return MadeRows(weights, Element::f32, {}, false);
  }();
  PowerState warm = state;
  const double after = power_iteration(moved.rows, layer.keys[0], 1, warm);
  PowerState long_run;
  EXPECT_NEAR(after, power_iteration(moved.rows, layer.keys[0], 200, long_run), 5e-3 * sigma);
}

TEST_P(PowerOnPath, GroupedLayerEqualsExpandedKeys) {
  std::mt19937_64 random(3);
  const MadeLayer layer(6, 2, 8, 40, 40, Element::f32, random);
  PowerState state;
  const double grouped = power_iteration(layer.queries, layer.keys, 60, state).value();
  std::vector<HeadRows> expanded;
  for (std::size_t h = 0; h < 6; ++h) expanded.push_back(layer.keys[h / 3]);
  PowerState other;
  EXPECT_NEAR(power_iteration(layer.queries, expanded, 60, other).value(), grouped, 1e-6 * grouped);
  EXPECT_NEAR(grouped, layer.sigma(), 1e-3 * grouped);
  EXPECT_LE(grouped, layer.sigma() * (1.0 + 1e-12));
}

TEST_P(PowerOnPath, SmallLayersAreExact) {
  std::mt19937_64 random(4);
  for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
    const MadeLayer layer(4, 2, 16, 100, 75, element, random);
    const ConcatenatedSigma got = concatenated_sigma(layer.queries, layer.keys, 3).value();
    EXPECT_EQ(got.iterations, 0);
    EXPECT_NEAR(got.value, layer.sigma(), 2e-6 * got.value);
  }
}

TEST_P(PowerOnPath, LargeLayersComeFromBelow) {
  std::mt19937_64 random(5);
  const MadeLayer layer(20, 5, 64, 80, 96, Element::bf16, random);
  const double sigma = layer.sigma();
  double before = 0.0;
  for (int passes = 1; passes <= 6; ++passes) {
    const ConcatenatedSigma got = concatenated_sigma(layer.queries, layer.keys, passes, 2).value();
    EXPECT_EQ(got.iterations, passes);
    EXPECT_LE(got.value, sigma * (1.0 + 1e-6));
    EXPECT_GE(got.value, before * (1.0 - 1e-6));
    before = got.value;
  }
  EXPECT_GE(before, 0.97 * sigma);
}

TEST(Power, SameBitsForAnyOrderAndThreads) {
  std::mt19937_64 random(6);
  const MadeLayer layer(20, 10, 64, 500, 500, Element::bf16, random);
  const double want = concatenated_sigma(layer.queries, layer.keys, 3, 1).value().value;
  EXPECT_EQ(concatenated_sigma(layer.queries, layer.keys, 3, 4).value().value, want);
  StreamingSigma reversed(500, 500, 10);
  for (int pass = 0; pass < 3; ++pass) {
    for (int g = 9; g >= 0; --g) {
      reversed.add(g, std::span(layer.queries).subspan(static_cast<std::size_t>(2 * g), 2),
                   layer.keys[static_cast<std::size_t>(g)]);
    }
    reversed.finish_pass();
  }
  EXPECT_EQ(reversed.estimate(), want);
  EXPECT_EQ(reversed.passes(), 3);
  PowerState one;
  PowerState many;
  EXPECT_EQ(power_iteration(layer.queries, layer.keys, 5, one, 1).value(),
            power_iteration(layer.queries, layer.keys, 5, many, 4).value());
}

TEST(Power, NarrowInputsAndRankBelowTheBlock) {
  std::mt19937_64 random(7);
  const MadeLayer layer(1040, 1040, 1, 5, 3, Element::f32, random);
  const ConcatenatedSigma got = concatenated_sigma(layer.queries, layer.keys, 3).value();
  EXPECT_EQ(got.iterations, 3);
  EXPECT_NEAR(got.value, layer.sigma(), 1e-5 * got.value);
}

TEST(Power, ReachesSigmaAtTheEndsOfTheRange) {
  std::mt19937_64 random(8);
  for (const double factor : {1e37, 1e-38, 1e120}) {
    Matrix a = gaussian(6, 20, random);
    Matrix b = gaussian(6, 20, random);
    for (int i = 0; i < 6; ++i) {
      for (double& value : a.row(i)) value *= factor;
      for (double& value : b.row(i)) value *= factor;
    }
    const Element element = factor > 1e100 ? Element::f64 : Element::f32;
    const MadeRows made_a(a, element, {}, false);
    const MadeRows made_b(b, element, {}, false);
    PowerState state;
    const double value = power_iteration(made_a.rows, made_b.rows, 300, state);
    const double sigma = singular_values(transposed_multiply(a, b))[0];
    EXPECT_NEAR(value / factor / factor, sigma / factor / factor, 1e-3 * sigma / factor / factor);
  }
  const MadeRows zero(Matrix(4, 9), Element::bf16, {}, false);
  PowerState state;
  EXPECT_EQ(power_iteration(zero.rows, zero.rows, 3, state), 0.0);
}

TEST(Power, NotFiniteGivesNanOrInfinity) {
  Matrix bad = Matrix(4, 9);
  bad(2, 3) = std::numeric_limits<double>::quiet_NaN();
  const MadeRows rows(bad, Element::f32, {}, false);
  PowerState state;
  EXPECT_FALSE(std::isfinite(power_iteration(rows.rows, rows.rows, 3, state)));
}

TEST(Power, EachRuleHasItsError) {
  std::mt19937_64 random(9);
  const MadeRows narrow(gaussian(4, 9, random), Element::f32, {}, false);
  const MadeRows wide(gaussian(4, 10, random), Element::f32, {}, false);
  const MadeRows tall(gaussian(5, 9, random), Element::f32, {}, false);
  PowerState state;
  const auto code = [&](const std::vector<HeadRows>& queries, const std::vector<HeadRows>& keys) {
    const auto result = power_iteration(queries, keys, 1, state);
    EXPECT_FALSE(concatenated_sigma(queries, keys, 1).ok());
    return result.ok() ? Code::usage : result.error().code;
  };
  EXPECT_EQ(code({}, {narrow.rows}), Code::value_invalid);
  EXPECT_EQ(code({narrow.rows}, {}), Code::value_invalid);
  EXPECT_EQ(code({narrow.rows, narrow.rows, narrow.rows}, {narrow.rows, narrow.rows}),
            Code::value_invalid);
  EXPECT_EQ(code({narrow.rows, wide.rows}, {narrow.rows}), Code::value_invalid);
  EXPECT_EQ(code({narrow.rows}, {tall.rows}), Code::value_invalid);
}

}  // namespace
}  // namespace ullage::spectrum
