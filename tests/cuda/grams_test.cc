// Grams on the tensor cores against long double sums, and how far a sum of theirs is off.
#include "ullage/cuda/grams.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cuda/device_rows.h"
#include "spectrum/gram_checks.h"

namespace ullage::cuda {
namespace {

using GramsTest = GpuTest;

struct Shape {
  int rows;
  int width;
};
constexpr Shape kShapes[] = {{1, 1},    {4, 7},     {16, 64},  {40, 65},  {64, 200},  {80, 95},
                             {96, 200}, {128, 136}, {17, 500}, {144, 70}, {256, 192}, {129, 64}};

TEST_F(GramsTest, EveryShapeElementAndFold) {
  std::mt19937_64 random(1);
  std::vector<std::unique_ptr<MadeRows>> made;
  std::vector<std::string> names;
  DeviceHeads heads;
  for (const Shape shape : kShapes) {
    for (const Element element : {Element::bf16, Element::f32}) {
      for (const bool folded : {false, true}) {
        for (const bool project : {false, true}) {
          Matrix values = gaussian(shape.rows, shape.width, random);
          made.push_back(std::make_unique<MadeRows>(
              values, element, folded ? gains(shape.width, random) : std::vector<double>{},
              project));
          heads.add(*made.back(), made.size() % 2 == 0 ? Layout::aligned : Layout::as_made);
          names.push_back(std::to_string(shape.rows) + "x" + std::to_string(shape.width) +
                          " element " + std::to_string(static_cast<int>(element)) + " folded " +
                          std::to_string(folded) + " project " + std::to_string(project));
        }
      }
    }
  }
  const auto found = grams(heads.sides(), nullptr);
  ASSERT_TRUE(found.ok()) << found.error().message();
  for (std::size_t s = 0; s < made.size(); ++s) {
    SCOPED_TRACE(names[s]);
    const SideGram& side = (*found)[s];
    if (made[s]->rows.width == 1 && made[s]->rows.project_mean) continue;  // nothing is left
    ASSERT_TRUE(side.fits);
    expect_bounds(*made[s], side.gram);
    EXPECT_LE(side.gram.inflation, 4e-5 * trace(side.gram.values) + 1e-9);
    if (HasFatalFailure()) return;
  }
}

TEST_F(GramsTest, WhatDoesNotFitIsSaid) {
  std::mt19937_64 random(2);
  DeviceHeads heads;
  Matrix values = gaussian(32, 128, random);
  const MadeRows plain(values, Element::bf16, {}, false);
  Matrix nan = values;
  nan(3, 70) = std::numeric_limits<double>::quiet_NaN();
  const MadeRows with_nan(nan, Element::bf16, {}, false);
  Matrix infinite = values;
  infinite(31, 0) = std::numeric_limits<double>::infinity();
  const MadeRows with_infinity(infinite, Element::f32, {}, false);
  Matrix large = values;
  for (int i = 0; i < 32; ++i)
    for (double& value : large.row(i)) value *= 1e30;
  const MadeRows too_large(large, Element::f32, {}, false);
  const MadeRows wide(values, Element::f64, {}, false);
  for (const MadeRows* made : {&plain, &with_nan, &with_infinity, &too_large, &wide})
    heads.add(*made, Layout::as_made);
  const auto found = grams(heads.sides(), nullptr);
  ASSERT_TRUE(found.ok()) << found.error().message();
  const std::vector<bool> fits = {true, false, false, false, false};
  for (std::size_t s = 0; s < fits.size(); ++s) EXPECT_EQ((*found)[s].fits, fits[s]) << s;
}

TEST_F(GramsTest, CrossProductsAreBf16Estimates) {
  std::mt19937_64 random(3);
  DeviceHeads heads;
  std::vector<std::unique_ptr<MadeRows>> made;
  for (const Shape shape : {Shape{64, 300}, Shape{64, 300}, Shape{200, 520}, Shape{200, 520}}) {
    made.push_back(std::make_unique<MadeRows>(gaussian(shape.rows, shape.width, random),
                                              Element::bf16, gains(shape.width, random),
                                              made.size() % 2 == 0));
    heads.add(*made.back(), Layout::aligned);
  }
  const std::vector<HeadPair> pairs = {{0, 1}, {2, 3}, {0, 0}};
  const auto found = cross_grams(heads.sides(), pairs, nullptr);
  ASSERT_TRUE(found.ok()) << found.error().message();
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const MadeRows& a = *made[static_cast<std::size_t>(pairs[p].query)];
    const MadeRows& b = *made[static_cast<std::size_t>(pairs[p].key)];
    const auto left = a.folded();
    const auto right = b.folded();
    const auto want = spectrum::long_product(left, right, a.rows.width);
    const auto columns = static_cast<std::size_t>(b.rows.rows);
    for (int i = 0; i < a.rows.rows; ++i) {
      for (int j = 0; j < b.rows.rows; ++j) {
        long double scale = 0;
        for (int c = 0; c < a.rows.width; ++c)
          scale += std::abs(left[static_cast<std::size_t>(i * a.rows.width + c)] *
                            right[static_cast<std::size_t>(j * b.rows.width + c)]);
        ASSERT_NEAR((*found)[p](i, j),
                    static_cast<double>(
                        want[static_cast<std::size_t>(i) * columns + static_cast<std::size_t>(j)]),
                    static_cast<double>(scale) * 0x1.1p-8)
            << p << ' ' << i << ' ' << j;
      }
    }
  }
}

// theory: a tensor core's sum is trusted to 2^-22 a product. One panel, so that no FP64 sum helps: random rows of
// wide range, and rows made to lose as much as an adder that cuts can lose.
TEST_F(GramsTest, ATensorCoreSumIsWithinItsUnit) {
  constexpr int kWidth = 64;
  constexpr int kRows = 128;
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  double worst = 0;
  double bias = 0;
  std::size_t count = 0;
  for (int kind = 0; kind < 6; ++kind) {
    Matrix values(kRows, kWidth);
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kWidth; ++j) {
        const double x = normal(random);
        switch (kind) {
          case 0:  // ordinary
            values(i, j) = x;
            break;
          case 1:  // wide range
            values(i, j) = std::ldexp(x, static_cast<int>(random() % 24) - 12);
            break;
          case 2:  // one sign
            values(i, j) = std::abs(x);
            break;
          case 3:  // one large product first, small ones of one sign after it
            values(i, j) = j == 0 ? 4096.0 : std::abs(x) * 0x1p-1;
            break;
          case 4:  // the large one last
            values(i, j) = j == kWidth - 1 ? 4096.0 : std::abs(x);
            break;
          default:  // large ones that cancel between small ones
            values(i, j) = j % 16 == 5    ? 1024.0
                           : j % 16 == 11 ? (i % 2 == 0 ? 1024.0 : -1024.0)
                                          : x;
        }
      }
    }
    const MadeRows made(values, Element::bf16, {}, false);
    DeviceHeads heads;
    heads.add(made, Layout::aligned);
    const auto found = grams(heads.sides(), nullptr);
    ASSERT_TRUE(found.ok()) << found.error().message();
    double worst_of_kind = 0;
    for (int i = 0; i < kRows; ++i) {
      for (int j = i; j < kRows; ++j) {
        long double sum = 0;
        long double size = 0;
        for (int c = 0; c < kWidth; ++c) {
          const long double product = made.weight(i, c) * made.weight(j, c);
          sum += product;
          size += std::abs(product);
        }
        const double error = static_cast<double>(((*found)[0].gram.values(i, j) - sum) / size);
        worst_of_kind = std::max(worst_of_kind, std::abs(error));
        bias += error * (sum < 0 ? -1 : 1);
        ++count;
      }
    }
    std::printf(
        "[          ] kind %d: worst sum of %d products off by %.3g of its magnitudes, %.3f of "
        "2^-22 a product\n",
        kind, kWidth, worst_of_kind, worst_of_kind / kWidth * 0x1p22);
    worst = std::max(worst, worst_of_kind);
  }
  std::printf("[          ] mean signed error, towards zero negative: %.3g\n",
              bias / static_cast<double>(count));
  EXPECT_LE(worst, kWidth * 0x1p-22);
  EXPECT_GT(worst, 0x1p-26) << "tensor cores that round as FP64 does: is this the kernel?";
}

}  // namespace
}  // namespace ullage::cuda
