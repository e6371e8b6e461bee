// Certified spectra from the GPU: never below the truth, close above it, and the CPU's estimates.
#include "ullage/cuda/spectra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cuda/device_rows.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::cuda {
namespace {

using SpectraTest = GpuTest;

struct Truth {
  double sigma, query, key;
};

// From FP64 Grams and exact spectra: off by about 1e-8 |A||B|.
Truth truth_of(const MadeRows& query, const MadeRows& key) {
  spectrum::GramWorkspace workspace;
  spectrum::Gram a;
  spectrum::Gram b;
  EXPECT_TRUE(gram(query.rows, spectrum::Arithmetic::precise, workspace, a));
  EXPECT_TRUE(gram(key.rows, spectrum::Arithmetic::precise, workspace, b));
  const auto norm = [](const Matrix& g) {
    return std::sqrt(std::max(spectrum::symmetric_eigen(g, false).values.back(), 0.0));
  };
  return {std::ldexp(spectrum::singular_values_of_product(a.values, b.values)[0],
                     a.exponent + b.exponent),
          std::ldexp(norm(a.values), a.exponent), std::ldexp(norm(b.values), b.exponent)};
}

void expect_bounded(const spectrum::Bounded& found, double truth, double scale, double loose) {
  EXPECT_NEAR(found.estimate, truth, 1e-5 * scale);
  EXPECT_GE(found.bound, truth - 4e-8 * scale);
  EXPECT_LE(found.bound, truth * loose + 1e-6 * scale);
}

// Pairs of made heads, and a plan for them.
class Problem {
 public:
  void add(const Matrix& query, const Matrix& key, Element element, std::vector<double> gain,
           bool project, Layout layout) {
    made_.push_back(std::make_unique<MadeRows>(query, element, gain, project));
    made_.push_back(std::make_unique<MadeRows>(key, element, gain, project));
    const int a = heads_.add(*made_[made_.size() - 2], layout);
    const int b = heads_.add(*made_.back(), layout);
    pairs_.push_back({a, b});
  }
  [[nodiscard]] const MadeRows& query(std::size_t pair) const { return *made_[2 * pair]; }
  [[nodiscard]] const MadeRows& key(std::size_t pair) const { return *made_[2 * pair + 1]; }
  [[nodiscard]] std::size_t size() const { return pairs_.size(); }
  [[nodiscard]] Spectra plan() const {
    Result<Spectra> made = Spectra::make(heads_.sides(), pairs_);
    EXPECT_TRUE(made.ok()) << made.error().message();
    return std::move(made).value();
  }
  [[nodiscard]] std::vector<PairSpectrum> run() const {
    Spectra spectra = plan();
    EXPECT_TRUE(spectra.refresh(nullptr).ok());
    auto found = spectra.read(nullptr);
    EXPECT_TRUE(found.ok()) << found.error().message();
    return std::move(found).value();
  }

 private:
  std::vector<std::unique_ptr<MadeRows>> made_;
  DeviceHeads heads_;
  std::vector<HeadPair> pairs_;
};

TEST_F(SpectraTest, OrdinaryHeadsOfEveryShapeElementAndFold) {
  std::mt19937_64 random(1);
  Problem problem;
  struct Shape {
    int rows;
    int width;
  };
  for (const Shape shape :
       {Shape{1, 8}, Shape{16, 64}, Shape{48, 100}, Shape{64, 384}, Shape{80, 333}, Shape{96, 768},
        Shape{128, 1024}, Shape{192, 640}, Shape{256, 1032}}) {
    for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
      for (const bool folded : {false, true}) {
        problem.add(gaussian(shape.rows, shape.width, random),
                    gaussian(shape.rows, shape.width, random), element,
                    folded ? gains(shape.width, random) : std::vector<double>{}, folded,
                    problem.size() % 2 == 0 ? Layout::aligned : Layout::as_made);
      }
    }
  }
  const auto found = problem.run();
  ASSERT_EQ(found.size(), problem.size());
  for (std::size_t p = 0; p < found.size(); ++p) {
    const MadeRows& query = problem.query(p);
    SCOPED_TRACE(testing::Message()
                 << query.rows.rows << 'x' << query.rows.width << " element "
                 << static_cast<int>(query.rows.element) << " folded " << query.rows.project_mean);
    const Truth truth = truth_of(query, problem.key(p));
    ASSERT_EQ(found[p].finite, 1);
    EXPECT_TRUE(query.rows.element != Element::f64 || found[p].precise == 1);
    const double loose = spectrum::kLoose;
    expect_bounded(found[p].sigma, truth.sigma, truth.query * truth.key, loose);
    expect_bounded(found[p].query, truth.query, truth.query, loose);
    expect_bounded(found[p].key, truth.key, truth.key, loose);
  }
}

TEST_F(SpectraTest, HardHeadsAreDoneInFp64) {
  std::mt19937_64 random(2);
  Problem problem;
  // A^T B small beside |A||B|: the key's rows but for a little are the query's, turned so that products cancel.
  Matrix query = gaussian(64, 512, random);
  Matrix key(64, 512);
  for (int i = 0; i < 64; i += 2) {
    for (int j = 0; j < 512; ++j) {
      query(i + 1, j) = query(i, j) * (1 + 1e-3 * (j % 7));
      key(i, j) = query(i + 1, j) * 1.5;
      key(i + 1, j) = -query(i, j) * 1.5;
    }
  }
  problem.add(query, key, Element::f32, {}, false, Layout::aligned);
  // Rank one, zero, and numbers that FP32's products do not hold.
  Matrix rank_one(32, 200);
  for (int i = 0; i < 32; ++i)
    for (int j = 0; j < 200; ++j) rank_one(i, j) = (1.0 + i) * 0.125 * (j % 5 - 2);
  problem.add(rank_one, gaussian(32, 200, random), Element::bf16, {}, false, Layout::as_made);
  problem.add(Matrix(64, 128), gaussian(64, 128, random), Element::bf16, {}, false,
              Layout::aligned);
  const auto scaled = [&](double factor) {
    Matrix out = gaussian(48, 96, random);
    for (int i = 0; i < 48; ++i)
      for (double& value : out.row(i)) value *= factor;
    return out;
  };
  problem.add(scaled(1e30), scaled(1e28), Element::f32, {}, false, Layout::aligned);
  problem.add(scaled(1e-30), scaled(1e-33), Element::bf16, {}, false, Layout::aligned);
  Matrix shifted = gaussian(64, 256, random);
  for (int i = 0; i < 64; ++i)
    for (double& value : shifted.row(i)) value += 27.0 * (i % 3);
  problem.add(shifted, gaussian(64, 256, random), Element::bf16, gains(256, random), true,
              Layout::aligned);
  const auto found = problem.run();
  for (std::size_t p = 0; p < found.size(); ++p) {
    SCOPED_TRACE(p);
    const Truth truth = truth_of(problem.query(p), problem.key(p));
    ASSERT_EQ(found[p].finite, 1);
    expect_bounded(found[p].sigma, truth.sigma, truth.query * truth.key, 1.01);
    expect_bounded(found[p].query, truth.query, truth.query, 1.01);
  }
  EXPECT_EQ(found[0].precise, 1);
  EXPECT_EQ(found[2].sigma.estimate, 0.0);
  EXPECT_EQ(found[3].precise, 1);
  EXPECT_EQ(found[4].precise, 1);
}

TEST_F(SpectraTest, NotFiniteIsSaidOfThePairsThatItTouches) {
  std::mt19937_64 random(3);
  Problem problem;
  const Matrix good = gaussian(64, 128, random);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
      Matrix broken = good;
      broken(63, 127) = bad;
      problem.add(broken, good, element, {}, false, Layout::aligned);
      problem.add(good, broken, element, {}, false, Layout::as_made);
      problem.add(good, good, element, {}, false, Layout::as_made);
    }
  }
  const auto found = problem.run();
  for (std::size_t p = 0; p < found.size(); ++p) {
    EXPECT_EQ(found[p].finite, p % 3 == 2) << p;
    EXPECT_EQ(std::isnan(found[p].sigma.bound), p % 3 != 2) << p;
  }
}

TEST_F(SpectraTest, KeysAreShared) {
  std::mt19937_64 random(5);
  DeviceHeads heads;
  std::vector<std::unique_ptr<MadeRows>> made;
  std::vector<HeadPair> pairs;
  for (int h = 0; h < 5; ++h) {
    made.push_back(std::make_unique<MadeRows>(gaussian(64, 256, random), Element::bf16,
                                              std::vector<double>{}, false));
    heads.add(*made.back(), Layout::aligned);
  }
  for (int h = 0; h < 4; ++h) pairs.push_back({h, 4});
  auto spectra = Spectra::make(heads.sides(), pairs);
  ASSERT_TRUE(spectra.ok());
  ASSERT_TRUE(spectra->refresh(nullptr).ok());
  const auto found = spectra->read(nullptr);
  ASSERT_TRUE(found.ok());
  for (std::size_t h = 0; h < 4; ++h) {
    const Truth truth = truth_of(*made[h], *made[4]);
    expect_bounded((*found)[h].sigma, truth.sigma, truth.query * truth.key, spectrum::kLoose);
  }
}

TEST_F(SpectraTest, WhatNoKernelTakesIsRefused) {
  std::mt19937_64 random(6);
  DeviceHeads heads;
  const MadeRows small(gaussian(4, 8, random), Element::bf16, {}, false);
  const MadeRows other(gaussian(5, 8, random), Element::bf16, {}, false);
  heads.add(small, Layout::aligned);
  heads.add(other, Layout::aligned);
  const std::vector<HeadPair> unequal = {{0, 1}};
  const std::vector<HeadPair> outside = {{0, 2}};
  EXPECT_EQ(Spectra::make(heads.sides(), unequal).error().code, Code::value_invalid);
  EXPECT_EQ(Spectra::make(heads.sides(), outside).error().code, Code::value_invalid);
  EXPECT_EQ(Spectra::make(heads.sides(), {}).error().code, Code::value_invalid);
  std::vector<DeviceRows> tall = {heads.sides()[0]};
  tall[0].rows = 257;
  const std::vector<HeadPair> own = {{0, 0}};
  EXPECT_EQ(Spectra::make(tall, own).error().code, Code::value_invalid);
}

}  // namespace
}  // namespace ullage::cuda
