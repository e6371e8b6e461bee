// Products of small symmetric matrices on every path, and what is built on them, against FP64.
#include "spectrum/symmetric_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "spectrum/lanczos.h"
#include "spectrum/made.h"
#include "spectrum/paths.h"
#include "spectrum/scaled_side.h"
#include "spectrum/single.h"
#include "spectrum/subspace.h"
#include "ullage/spectrum/rope.h"
#include "ullage/spectrum/spectrum.h"
#include "ullage/spectrum/tridiagonal.h"

namespace ullage::spectrum {
namespace {

using SymmetricOnPath = PerPath;
INSTANTIATE_TEST_SUITE_P(Paths, SymmetricOnPath, testing::ValuesIn(kCpuPaths), path_name);

constexpr int kSizes[] = {1, 7, 16, 17, 48, 63, 64, 80, 128, 200, 256};

Matrix made_gram(int size, std::mt19937_64& random) {
  const Matrix a = gaussian(size, 3 * size + 1, random);
  return multiply_transposed(a, a);
}

template <class T>
void expect_products(int size, double tolerance, std::mt19937_64& random) {
  const Matrix m = made_gram(size, random);
  const int width = padded_lanes(size);
  const std::ptrdiff_t stride = width + kSymmetricLanes;
  std::vector<T> values(static_cast<std::size_t>(size * stride));
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j < size; ++j)
      values[static_cast<std::size_t>(i * stride + j)] = static_cast<T>(m(i, j));
  }
  const Matrix x = gaussian(kSymmetricBlock, size, random);
  std::vector<T> in(static_cast<std::size_t>(kSymmetricBlock * width));
  for (int b = 0; b < kSymmetricBlock; ++b) {
    for (int i = 0; i < size; ++i)
      in[static_cast<std::size_t>(b * width + i)] = static_cast<T>(x(b, i));
  }
  std::vector<T> block(in.size(), T(99));
  std::vector<T> one(static_cast<std::size_t>(width), T(99));
  symmetric_kernels<T>().multiply_block(values.data(), stride, size, in.data(), block.data());
  for (int b = 0; b < kSymmetricBlock; ++b) {
    symmetric_kernels<T>().multiply(values.data(), stride, size, in.data() + b * width, one.data());
    const std::vector<double> want = multiply(m, x.row(b));
    const double scale = tolerance * trace(m);
    for (int i = 0; i < width; ++i) {
      const double expected = i < size ? want[static_cast<std::size_t>(i)] : 0.0;
      ASSERT_NEAR(static_cast<double>(one[static_cast<std::size_t>(i)]), expected, scale) << size;
      ASSERT_NEAR(static_cast<double>(block[static_cast<std::size_t>(b * width + i)]), expected,
                  scale)
          << size;
    }
  }
}

TEST_P(SymmetricOnPath, ProductsMatchDouble) {
  std::mt19937_64 random(1);
  for (const int size : kSizes) {
    expect_products<float>(size, 1e-6, random);
    expect_products<double>(size, 1e-15, random);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SymmetricOnPath, ScaledSideIsItsMatrix) {
  std::mt19937_64 random(2);
  for (const int size : {49, 64, 128}) {
    for (const bool biased : {false, true}) {
      const Matrix gram = made_gram(size, random);
      std::vector<double> bias, d;
      for (int i = 0; i < size; ++i) {
        bias.push_back(3.0 * gaussian(1, 1, random)(0, 0));
        d.push_back(std::exp(gaussian(1, 1, random)(0, 0)));
      }
      const Side side{&gram, bias, 1.0};
      const double t = biased ? 0.25 : 0.0;
      Matrix whole = gram;
      for (int i = 0; i < size && biased; ++i) {
        for (int j = 0; j < size; ++j)
          whole(i, j) +=
              bias[static_cast<std::size_t>(i)] * bias[static_cast<std::size_t>(j)] / t / t;
      }
      ScaledSide scaled(side);
      scaled.set(d, t);
      const std::vector<double> want = symmetric_eigen(scaled_symmetric(whole, d), false).values;
      EXPECT_NEAR(scaled.norm(), std::sqrt(want.back()), 1e-6 * std::sqrt(want.back()));
      // The block's Ritz values come from below, and settle on the largest.
      TopSubspace top(size);
      for (int i = 0; i < 40; ++i)
        top.update([&](const float* x, float* y) { scaled.multiply_block(x, y); });
      EXPECT_NEAR(top.values()[0] * scaled.scale(), want.back(), 1e-4 * want.back());
      for (int k = 0; k < TopSubspace::kBlock; ++k)
        EXPECT_LE(top.values()[static_cast<std::size_t>(k)] * scaled.scale(),
                  want[static_cast<std::size_t>(size - 1 - k)] * (1.0 + 1e-5));
    }
  }
}

// Dependent vectors: a matrix of rank below the block's.
TEST_P(SymmetricOnPath, SubspaceOfLowRank) {
  std::mt19937_64 random(3);
  const int size = 64;
  const Matrix a = gaussian(size, 3, random);
  const Matrix gram = multiply_transposed(a, a);
  const SingleSymmetric single(gram);
  TopSubspace top(size);
  for (int i = 0; i < 5; ++i)
    top.update([&](const float* x, float* y) { single.multiply_block(x, y); });
  const std::vector<double> want = symmetric_eigen(gram, false).values;
  const double unit = std::ldexp(1.0, 2 * single.half_exponent());
  for (int k = 0; k < 3; ++k)
    EXPECT_NEAR(top.values()[static_cast<std::size_t>(k)] * unit,
                want[static_cast<std::size_t>(size - 1 - k)], 1e-5 * want.back());
  EXPECT_NEAR(top.values()[3] * unit, 0.0, 1e-5 * want.back());
}

TEST_P(SymmetricOnPath, SingleReductionKeepsEigenvalues) {
  std::mt19937_64 random(5);
  for (const int size : kSizes) {
    for (const int rank : {size, (size + 2) / 3}) {
      const Matrix a = gaussian(size, rank, random);
      const Matrix gram = multiply_transposed(a, a);
      const std::vector<double> want = symmetric_eigen(gram, false).values;
      const std::vector<double> got = eigenvalues(tridiagonalise_single(gram), 0x1p-40);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t k = 0; k < want.size(); ++k)
        ASSERT_NEAR(got[k], want[k], 2e-6 * want.back()) << size << ' ' << rank;
    }
  }
  for (const int size : {0, 1, 5})
    for (const double value : eigenvalues(tridiagonalise_single(Matrix(size, size))))
      EXPECT_EQ(value, 0.0);
}

// Where the product of two Grams cancels, sigma is far below |A||B| and FP32 would not see it.
TEST_P(SymmetricOnPath, SigmaOfCancellingProducts) {
  std::mt19937_64 random(4);
  for (const int size : {32, 64, 128}) {
    for (const double share : {1.0, 1e-2, 1e-4}) {
      // A lives on the first half of the coordinates of the head, B on the second, but for `share`.
      Matrix a = gaussian(size, 2 * size, random);
      Matrix b = gaussian(size, 2 * size, random);
      for (int i = 0; i < size; ++i) {
        for (double& value : (i < size / 2 ? b : a).row(i)) value *= share;
      }
      const double want = singular_values(transposed_multiply(a, b))[0];
      const double got = sigma_of_product(multiply_transposed(a, a), multiply_transposed(b, b));
      EXPECT_NEAR(got, want, 3e-6 * want) << size << ' ' << share;
    }
  }
}

// One direction with noise beneath it, both sides alike: what is left of a vector after it lies almost in A's null space,
// where FP32 makes its length of rounding.
TEST_P(SymmetricOnPath, SigmaNearRankOne) {
  std::mt19937_64 random(6);
  for (const int size : {64, 128}) {
    for (const double noise : {0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0}) {
      for (const bool tied : {true, false}) {
        for (int draw = 0; draw < 3; ++draw) {
          const auto near_one = [&](const Matrix& column) {
            Matrix out = multiply(column, gaussian(1, size, random));
            const Matrix rest = gaussian(size, size, random);
            for (int i = 0; i < size; ++i) {
              for (int j = 0; j < out.columns(); ++j) out(i, j) += noise * rest(i, j);
            }
            return out;
          };
          const Matrix a = near_one(gaussian(size, 1, random));
          const Matrix b = tied ? a : near_one(gaussian(size, 1, random));
          const Matrix g_a = multiply_transposed(a, a), g_b = multiply_transposed(b, b);
          const double size_a = singular_values(a)[0], size_b = singular_values(b)[0];
          const double want = singular_values(transposed_multiply(a, b))[0];
          EXPECT_NEAR(sigma_of_product(g_a, g_b), want, 1e-5 * size_a * size_b)
              << size << ' ' << noise << ' ' << tied;
          const Rotation still = *make_rotation(size, 0, Pairing::half_split, {});
          const Supremum found =
              sampled_supremum(still, {&g_a, {}, 1}, {&g_b, {}, 1}, {}, sampled_turns(still, {0}));
          // FP32 is off by its share of the square, whatever cancels.
          EXPECT_NEAR(found.value * found.value, want * want, 2e-5 * std::pow(size_a * size_b, 2))
              << size << ' ' << noise << ' ' << tied;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ullage::spectrum
