// Grams on every CPU path against long double sums over the same weights, and their stated errors.
#include "ullage/spectrum/gram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "spectrum/gram_checks.h"
#include "spectrum/made_rows.h"
#include "spectrum/paths.h"

namespace ullage::spectrum {
namespace {

struct Shape {
  int rows;
  int width;
};
// Head widths of real models and awkward ones; widths around panels and their tails.
constexpr Shape kShapes[] = {{1, 1},   {4, 7},    {16, 64},   {40, 65},  {64, 200},
                             {80, 95}, {96, 200}, {128, 130}, {17, 500}, {144, 70}};
constexpr Element kElements[] = {Element::bf16, Element::f32, Element::f64};

std::vector<double> gains(int width, std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(0.05, 2.0);
  std::vector<double> out(static_cast<std::size_t>(width));
  for (double& value : out) value = uniform(random);
  return out;
}

using GramOnPath = PerPath;
INSTANTIATE_TEST_SUITE_P(Paths, GramOnPath, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(GramOnPath, EveryShapeElementAndFold) {
  std::mt19937_64 random(1);
  GramWorkspace workspace;
  Gram out;
  for (const Shape shape : kShapes) {
    for (const Element element : kElements) {
      for (const bool folded : {false, true}) {
        for (const bool project : {false, true}) {
          const Matrix values = gaussian(shape.rows, shape.width, random);
          const MadeRows made(values, element,
                              folded ? gains(shape.width, random) : std::vector<double>{}, project);
          const std::vector<long double> want =
              long_product(made.folded(), made.folded(), shape.width);
          for (const Arithmetic arithmetic : {Arithmetic::fast, Arithmetic::precise}) {
            SCOPED_TRACE(testing::Message()
                         << shape.rows << 'x' << shape.width << " element "
                         << static_cast<int>(element) << " folded " << folded << " project "
                         << project << " precise " << (arithmetic == Arithmetic::precise));
            ASSERT_TRUE(gram(made.rows, arithmetic, workspace, out));
            expect_bounds(made, out, want);
            const double size = trace(out.values);
            if (arithmetic == Arithmetic::precise || element == Element::f64) {
              EXPECT_LE(out.inflation, 1e-13 * (size + 1e-9));
            } else {
              EXPECT_LE(out.inflation, 1e-5 * size + 1e-9);
            }
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(GramOnPath, LargeMeansCostNothing) {
  std::mt19937_64 random(2);
  Matrix values = gaussian(32, 512, random);
  for (int i = 0; i < 32; ++i) {
    for (double& value : values.row(i)) value += 27.0;
  }
  GramWorkspace workspace;
  Gram out;
  for (const Element element : kElements) {
    const MadeRows made(values, element, {}, true);
    ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, out));
    expect_bounds(made, out);
    EXPECT_LE(out.inflation, 4e-5 * trace(out.values));
    ASSERT_EQ(out.means.size(), 32U);
    EXPECT_NEAR(out.means[3], 27.0, 0.3);
  }
}

TEST_P(GramOnPath, StaysFiniteAtTheEndsOfTheRange) {
  std::mt19937_64 random(3);
  GramWorkspace workspace;
  Gram out;
  struct Range {
    Element element;
    double factor;
  };
  for (const Range range :
       {Range{Element::bf16, 1e37}, Range{Element::f32, 3e37}, Range{Element::bf16, 1e-39},
        Range{Element::f32, 1e-41}, Range{Element::f32, 1e-20}, Range{Element::f64, 1e153},
        Range{Element::f64, 1e300}, Range{Element::f64, 1e-300}, Range{Element::f64, 1e-310}}) {
    Matrix values = gaussian(24, 100, random);
    for (int i = 0; i < 24; ++i) {
      for (double& value : values.row(i)) value *= range.factor;
    }
    for (const bool project : {false, true}) {
      SCOPED_TRACE(range.factor);
      const MadeRows made(values, range.element, {}, project);
      ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, out));
      EXPECT_GT(trace(out.values), 0.0);
      EXPECT_TRUE(std::isfinite(trace(out.values)));
      EXPECT_EQ(out.exponent != 0, range.element == Element::f64);
      expect_bounds(made, out);
      EXPECT_LE(out.inflation, 1e-13 * trace(out.values));
    }
  }
}

TEST_P(GramOnPath, GainsOfWideRange) {
  std::mt19937_64 random(4);
  GramWorkspace workspace;
  Gram out;
  for (const Element element : kElements) {
    Matrix values = gaussian(8, 64, random);
    std::vector<double> gain = gains(64, random);
    gain[7] = 1e30;
    gain[8] = 1e-30;
    for (int i = 0; i < 8; ++i) values(i, 7) = 0.0;  // the largest gain meets zeros only
    const MadeRows made(values, element, gain, false);
    ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, out));
    expect_bounds(made, out);
    EXPECT_LE(out.inflation, 1e-5 * trace(out.values));
  }
}

TEST_P(GramOnPath, ZerosStayZero) {
  GramWorkspace workspace;
  Gram out;
  for (const Element element : kElements) {
    const MadeRows made(Matrix(5, 33), element, {}, false);
    ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, out));
    EXPECT_EQ(trace(out.values), 0.0);
    EXPECT_EQ(out.inflation, 0.0);
  }
}

TEST_P(GramOnPath, NotFiniteIsReported) {
  std::mt19937_64 random(5);
  GramWorkspace workspace;
  Gram out;
  Matrix cross;
  std::vector<double> norms(16);
  for (const Element element : kElements) {
    for (const double bad : {std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity(), std::nan("")}) {
      Matrix values = gaussian(16, 100, random);
      values(15, 99) = bad;
      const MadeRows made(values, element, {}, false);
      const MadeRows folded(gaussian(16, 100, random), element, std::vector<double>(100, bad),
                            true);
      EXPECT_FALSE(gram(made.rows, Arithmetic::fast, workspace, out));
      EXPECT_FALSE(gram(made.rows, Arithmetic::precise, workspace, out));
      EXPECT_FALSE(gram(folded.rows, Arithmetic::fast, workspace, out));
      EXPECT_FALSE(row_norms_squared(made.rows, workspace, norms));
      EXPECT_FALSE(std::isfinite(largest_magnitude(made.rows)));
    }
  }
}

TEST_P(GramOnPath, CrossMatchesWithinBf16) {
  std::mt19937_64 random(6);
  GramWorkspace workspace;
  for (const Element element : kElements) {
    for (const bool project : {false, true}) {
      for (const bool project_key : {false, true}) {
        const MadeRows a(gaussian(40, 201, random), element, gains(201, random), project);
        const MadeRows b(gaussian(24, 201, random), element, {}, project_key);
        Gram gram_a;
        Gram gram_b;
        Matrix cross;
        ASSERT_TRUE(gram(a.rows, Arithmetic::fast, workspace, gram_a));
        ASSERT_TRUE(gram(b.rows, Arithmetic::fast, workspace, gram_b));
        ASSERT_TRUE(cross_gram(a.rows, gram_a, b.rows, gram_b, workspace, cross));
        const std::vector<long double> want = long_product(a.folded(), b.folded(), 201);
        for (int i = 0; i < 40; ++i) {
          for (int j = 0; j < 24; ++j) {
            const double scale = std::sqrt(gram_a.values(i, i) * gram_b.values(j, j));
            ASSERT_NEAR(cross(i, j),
                        static_cast<double>(want[static_cast<std::size_t>(i * 24 + j)]),
                        scale * 0x1p-8);
          }
        }
      }
    }
  }
}

// The folded rows are of order one, the stored ones beyond FP32's squares: no product of those in one pass.
TEST_P(GramOnPath, CrossOfWideGains) {
  std::mt19937_64 random(18);
  GramWorkspace workspace;
  for (const double size : {1e-30, 1e20}) {
    Matrix values = gaussian(8, 50, random);
    for (int i = 0; i < 8; ++i)
      for (double& value : values.row(i)) value *= size;
    const MadeRows a(values, Element::bf16, std::vector<double>(50, 1.0 / size), false);
    const MadeRows b(gaussian(8, 50, random), Element::bf16, {}, false);
    Gram stored, gram_a, gram_b;
    PackedRows packed;
    Matrix product, cross;
    ASSERT_TRUE(gram_pass(b.rows, workspace,
                          {.folded = &gram_b, .keep = &packed, .keep_gain = a.rows.gain}));
    ASSERT_TRUE(
        gram_pass(a.rows, workspace,
                  {.stored = &stored, .folded = &gram_a, .other = &packed, .product = &product}));
    EXPECT_EQ(product.rows(), 0);
    ASSERT_TRUE(cross_gram(a.rows, gram_a, b.rows, gram_b, workspace, cross));
    const std::vector<long double> want = long_product(a.folded(), b.folded(), 50);
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < 8; ++j) {
        const double scale = std::sqrt(gram_a.values(i, i) * gram_b.values(j, j));
        ASSERT_NEAR(cross(i, j), static_cast<double>(want[static_cast<std::size_t>(i * 8 + j)]),
                    scale * 0x1p-8);
      }
    }
  }
}

TEST_P(GramOnPath, OnePassMakesWhatSeparateOnesMake) {
  std::mt19937_64 random(16);
  GramWorkspace workspace;
  for (const Element element : kElements) {
    for (const bool project : {false, true}) {
      for (const int width : {64, 129, 300}) {
        const MadeRows a(gaussian(40, width, random), element, gains(width, random), project);
        const MadeRows b(gaussian(24, width, random), element,
                         project ? std::vector<double>{} : gains(width, random), project);
        Gram stored, folded, key, want_stored, want_folded, want_key;
        PackedRows packed;
        Matrix product, want_product;
        ASSERT_TRUE(gram_pass(b.rows, workspace,
                              {.folded = &key, .keep = &packed, .keep_gain = a.rows.gain}));
        ASSERT_EQ(packed.empty(), element == Element::f64);
        GramPass pass{.stored = &stored, .folded = &folded};
        if (!packed.empty()) {
          pass.other = &packed;
          pass.product = &product;
        }
        ASSERT_TRUE(gram_pass(a.rows, workspace, pass));
        ASSERT_TRUE(gram(unfolded(a.rows), Arithmetic::fast, workspace, want_stored));
        ASSERT_TRUE(gram(a.rows, Arithmetic::fast, workspace, want_folded));
        ASSERT_TRUE(gram(b.rows, Arithmetic::fast, workspace, want_key));
        ASSERT_TRUE(cross_gram(a.rows, want_folded, b.rows, want_key, workspace, want_product));
        const auto same = [](const Gram& got, const Gram& want) {
          for (int i = 0; i < got.values.rows(); ++i)
            for (int j = 0; j < got.values.columns(); ++j)
              ASSERT_EQ(got.values(i, j), want.values(i, j));
          EXPECT_EQ(got.inflation, want.inflation);
          EXPECT_EQ(got.means, want.means);
        };
        same(stored, want_stored);
        same(folded, want_folded);
        same(key, want_key);
        ASSERT_EQ(product.rows(), packed.empty() ? 0 : 40);
        for (int i = 0; i < product.rows(); ++i)
          for (int j = 0; j < product.columns(); ++j) ASSERT_EQ(product(i, j), want_product(i, j));
      }
    }
  }
}

// Only FP64 resolves such rows: their product is not made and they are not kept.
TEST_P(GramOnPath, OnePassBeyondSinglePrecision) {
  std::mt19937_64 random(17);
  GramWorkspace workspace;
  Matrix values = gaussian(8, 50, random);
  for (int i = 0; i < 8; ++i)
    for (double& value : values.row(i)) value *= 3e37;
  const MadeRows wide(values, Element::f32, {}, false);
  const MadeRows plain(gaussian(8, 50, random), Element::f32, {}, false);
  PackedRows packed, refused;
  Gram key, query;
  Matrix product;
  ASSERT_TRUE(gram_pass(plain.rows, workspace, {.folded = &key, .keep = &packed}));
  ASSERT_TRUE(gram_pass(wide.rows, workspace, {.folded = &query, .keep = &refused}));
  EXPECT_TRUE(refused.empty());
  expect_bounds(wide, query);
  ASSERT_TRUE(
      gram_pass(wide.rows, workspace, {.folded = &query, .other = &packed, .product = &product}));
  EXPECT_EQ(product.rows(), 0);
}

TEST_P(GramOnPath, CrossOfWideRange) {
  std::mt19937_64 random(7);
  GramWorkspace workspace;
  Matrix values = gaussian(8, 50, random);
  for (int i = 0; i < 8; ++i) {
    for (double& value : values.row(i)) value *= 1e200;
  }
  const MadeRows a(values, Element::f64, {}, false);
  const MadeRows b(gaussian(8, 50, random), Element::f64, {}, false);
  Gram gram_a;
  Gram gram_b;
  Matrix cross;
  ASSERT_TRUE(gram(a.rows, Arithmetic::fast, workspace, gram_a));
  ASSERT_TRUE(gram(b.rows, Arithmetic::fast, workspace, gram_b));
  ASSERT_TRUE(cross_gram(a.rows, gram_a, b.rows, gram_b, workspace, cross));
  const std::vector<long double> want =
      long_product(a.folded(gram_a.exponent), b.folded(gram_b.exponent), 50);
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) {
      ASSERT_NEAR(cross(i, j), static_cast<double>(want[static_cast<std::size_t>(i * 8 + j)]),
                  1e-12);
    }
  }
}

TEST_P(GramOnPath, RowNormsBoundFromAbove) {
  std::mt19937_64 random(8);
  GramWorkspace workspace;
  for (const Element element : kElements) {
    for (const bool project : {false, true}) {
      Matrix values = gaussian(12, 1111, random);
      for (double& value : values.row(3)) value = value * 1e-30 + 1e-28;  // below the fast range
      for (double& value : values.row(5)) value = 0.0;
      for (double& value : values.row(6)) value += 20.0;
      const MadeRows made(values, element, gains(1111, random), project);
      std::vector<double> got(12);
      ASSERT_TRUE(row_norms_squared(made.rows, workspace, got));
      const std::vector<long double> want = long_product(made.folded(), made.folded(), 1111);
      for (std::size_t r = 0; r < 12; ++r) {
        const auto exact = static_cast<double>(want[r * 13]);
        EXPECT_GE(got[r], exact) << r;
        EXPECT_LE(got[r], exact * (1.0 + 2e-5)) << r;
      }
      EXPECT_EQ(got[5], 0.0);
    }
  }
}

TEST(Gram, RowProductsMatch) {
  std::mt19937_64 random(9);
  for (const Element element : kElements) {
    const MadeRows made(gaussian(9, 77, random), element, {}, false);
    const Matrix x = gaussian(1, 77, random);
    std::vector<double> got(9);
    row_products(made.rows, x.row(0), got);
    for (int i = 0; i < 9; ++i) {
      long double want = 0;
      for (int j = 0; j < 77; ++j) want += made.weight(i, j) * x(0, j);
      EXPECT_NEAR(got[static_cast<std::size_t>(i)], static_cast<double>(want), 1e-13);
    }
  }
}

TEST(Gram, SameBitsFromAnyThreadAndAlignment) {
  std::mt19937_64 random(10);
  const Matrix values = gaussian(64, 300, random);
  const std::vector<double> gain = gains(300, random);
  const MadeRows made(values, Element::bf16, gain, false);
  GramWorkspace workspace;
  Gram want;
  ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, want));
  std::vector<std::uint16_t> moved(64 * 300 + 1);
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 300; ++j) {
      moved[static_cast<std::size_t>(1 + i * 300 + j)] =
          made.bf16[static_cast<std::size_t>(i * 303 + j)];
    }
  }
  HeadRows rows = made.rows;
  rows.values = moved.data() + 1;
  rows.stride = 300;
  std::vector<Gram> got(3);
  {
    std::vector<std::jthread> threads;
    for (Gram& out : got) {
      threads.emplace_back([&rows, &out] {
        GramWorkspace own;
        ASSERT_TRUE(gram(rows, Arithmetic::fast, own, out));
      });
    }
  }
  for (const Gram& out : got) {
    for (int i = 0; i < 64; ++i) {
      for (int j = 0; j < 64; ++j) ASSERT_EQ(out.values(i, j), want.values(i, j));
    }
  }
}

TEST(Gram, InflatedLiesAbove) {
  std::mt19937_64 random(11);
  const MadeRows made(gaussian(6, 40, random), Element::bf16, gains(40, random), false);
  GramWorkspace workspace;
  Gram out;
  ASSERT_TRUE(gram(made.rows, Arithmetic::fast, workspace, out));
  const Matrix above = inflated(out);
  for (int i = 0; i < 6; ++i) EXPECT_GE(above(i, i), out.values(i, i) + out.inflation);
  EXPECT_EQ(above(0, 1), out.values(0, 1));
}

}  // namespace
}  // namespace ullage::spectrum
