// Spectra of pairs on every CPU path, against long double: bounds hold, estimates are close.
#include "ullage/spectrum/pair_spectra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "spectrum/jacobi.h"
#include "spectrum/made_rows.h"
#include "spectrum/paths.h"

namespace ullage::spectrum {
namespace {

// |A^T B|_2 in long double: the singular values of A^T B, which is small here.
double true_sigma(const MadeRows& query, const MadeRows& key) {
  const auto a = query.folded();
  const auto b = key.folded();
  const auto rows = static_cast<std::size_t>(query.rows.rows);
  const auto left = static_cast<std::size_t>(query.rows.width);
  const auto right = static_cast<std::size_t>(key.rows.width);
  std::vector<long double> product(left * right);
  for (std::size_t i = 0; i < left; ++i)
    for (std::size_t j = 0; j < right; ++j)
      for (std::size_t r = 0; r < rows; ++r)
        product[i * right + j] += a[r * left + i] * b[r * right + j];
  return static_cast<double>(jacobi_singular_values(product, left, right)[0]);
}

using PairSpectraOnPath = PerPath;
INSTANTIATE_TEST_SUITE_P(Paths, PairSpectraOnPath, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(PairSpectraOnPath, BoundsHoldAndAreClose) {
  std::mt19937_64 random(1);
  std::vector<std::unique_ptr<MadeRows>> made;
  std::vector<HeadRows> sides;
  std::vector<HeadPair> pairs;
  for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
    // Two query heads of one key head, of another width.
    for (const int width : {40, 40, 33}) {
      made.push_back(std::make_unique<MadeRows>(gaussian(12, width, random), element,
                                                std::vector<double>{}, width == 33));
      sides.push_back(made.back()->rows);
    }
    const int last = static_cast<int>(sides.size()) - 1;
    pairs.push_back({last - 2, last});
    pairs.push_back({last - 1, last});
  }
  for (const int threads : {1, 3}) {
    const auto found = pair_spectra(sides, pairs, threads);
    ASSERT_TRUE(found.ok()) << found.error().message();
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const double want = true_sigma(*made[static_cast<std::size_t>(pairs[p].query)],
                                     *made[static_cast<std::size_t>(pairs[p].key)]);
      const PairSpectrum& pair = (*found)[p];
      ASSERT_EQ(pair.finite, 1);
      EXPECT_NEAR(pair.sigma.estimate, want, 1e-5 * pair.query.estimate * pair.key.estimate);
      EXPECT_GE(pair.sigma.bound, want);
      EXPECT_LE(pair.sigma.bound, 1.005 * want);
      EXPECT_GE(pair.query.bound * pair.key.bound, want);
    }
  }
}

TEST(PairSpectra, CancellingPairsAreDoneInFp64AndNanIsSaid) {
  std::mt19937_64 random(2);
  Matrix query = gaussian(8, 48, random);
  Matrix key(8, 48);
  for (int i = 0; i < 8; i += 2) {
    for (int j = 0; j < 48; ++j) {
      query(i + 1, j) = query(i, j) * (1 + 1e-3 * (j % 7));
      key(i, j) = query(i + 1, j);
      key(i + 1, j) = -query(i, j);
    }
  }
  const MadeRows a(query, Element::f32, {}, false);
  const MadeRows b(key, Element::f32, {}, false);
  Matrix broken = key;
  broken(7, 47) = std::numeric_limits<double>::quiet_NaN();
  const MadeRows c(broken, Element::f32, {}, false);
  const std::vector<HeadRows> sides = {a.rows, b.rows, c.rows};
  const auto found = pair_spectra(sides, std::vector<HeadPair>{{0, 1}, {0, 2}}, 0);
  ASSERT_TRUE(found.ok());
  const double want = true_sigma(a, b);
  EXPECT_EQ((*found)[0].precise, 1);
  EXPECT_GE((*found)[0].sigma.bound, want);
  EXPECT_NEAR((*found)[0].sigma.estimate, want,
              1e-5 * (*found)[0].query.estimate * (*found)[0].key.estimate);
  EXPECT_EQ((*found)[1].finite, 0);
  EXPECT_TRUE(std::isnan((*found)[1].sigma.bound));
}

TEST(PairSpectra, WrongPairsAreRefused) {
  std::mt19937_64 random(3);
  const MadeRows a(gaussian(4, 8, random), Element::bf16, {}, false);
  const MadeRows b(gaussian(5, 8, random), Element::bf16, {}, false);
  const std::vector<HeadRows> sides = {a.rows, b.rows};
  for (const HeadPair pair : {HeadPair{0, 1}, HeadPair{0, 2}, HeadPair{-1, 0}})
    EXPECT_EQ(pair_spectra(sides, std::vector<HeadPair>{pair}, 1).error().code,
              Code::value_invalid);
  EXPECT_EQ(pair_spectra(sides, {}, 1).error().code, Code::value_invalid);
}

}  // namespace
}  // namespace ullage::spectrum
