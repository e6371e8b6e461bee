// Spectra from Grams against singular values of the products themselves.
#include "ullage/spectrum/spectrum.h"

#include <gtest/gtest.h>

#include <random>

#include "spectrum/made.h"

namespace ullage::spectrum {
namespace {

TEST(Spectrum, AllSingularValuesOfAProduct) {
  std::mt19937_64 random(1);
  for (const int n : {1, 4, 33}) {
    const Matrix a = gaussian(n, 50, random);
    const Matrix b = gaussian(n, 50, random);
    const std::vector<double> got = singular_values_of_product(gram_of(a), gram_of(b));
    const std::vector<double> want = singular_values(transposed_multiply(a, b));
    ASSERT_EQ(got.size(), static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < got.size(); ++k) EXPECT_NEAR(got[k], want[k], 1e-8 * want[0]) << k;
    EXPECT_NEAR(sigma_of_product(gram_of(a), gram_of(b)), want[0], 3e-7 * want[0]);
    EXPECT_NEAR(norm_of(gram_of(a)), singular_values(a)[0], 3e-7 * want[0]);
  }
}

TEST(Spectrum, SingularAndZeroGrams) {
  std::mt19937_64 random(2);
  const Matrix a = multiply(gaussian(20, 3, random), gaussian(3, 60, random));  // rank 3
  const Matrix b = gaussian(20, 60, random);
  const std::vector<double> got = singular_values_of_product(gram_of(a), gram_of(b));
  const std::vector<double> want = singular_values(transposed_multiply(a, b));
  for (std::size_t k = 0; k < got.size(); ++k) EXPECT_NEAR(got[k], want[k], 1e-6 * want[0]) << k;
  EXPECT_EQ(sigma_of_product(Matrix(4, 4), Matrix(4, 4)), 0.0);
  EXPECT_EQ(norm_of(Matrix(4, 4)), 0.0);
}

}  // namespace
}  // namespace ullage::spectrum
