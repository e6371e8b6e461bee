// Jacobian norms and head figures against dense matrices.
#include "ullage/attention/statistics.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tensors.h"

namespace ullage::attention::testing {
namespace {

std::vector<double> softmax(const std::vector<double>& scores) {
  const double top = *std::max_element(scores.begin(), scores.end());
  std::vector<double> p;
  double sum = 0;
  for (const double s : scores) sum += std::exp(s - top);
  for (const double s : scores) p.push_back(std::exp(s - top) / sum);
  return p;
}

// Top eigenvalue of diag(p) - p p^T by many power iterations on the dense matrix.
double dense_jacobian_norm(const std::vector<double>& p) {
  std::vector<double> x(p.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<double>(3 * i + 1));
  double norm = 0;
  for (int step = 0; step < 20000; ++step) {
    double dot = 0;
    for (std::size_t i = 0; i < x.size(); ++i) dot += p[i] * x[i];
    norm = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = p[i] * (x[i] - dot);
      norm += x[i] * x[i];
    }
    norm = std::sqrt(norm);
    if (norm == 0) return 0;
    for (double& value : x) value /= norm;
  }
  return norm;
}

RowStatistics of(const std::vector<double>& scores) {
  RowStatistics row;
  for (const double s : scores) add_score(row, s);
  return row;
}

TEST(Statistics, RowsWithKnownJacobians) {
  std::ifstream file(ULLAGE_TEST_DATA "/attention/softmax_rows.json");
  const auto json = nlohmann::json::parse(file);
  ASSERT_EQ(json["cases"].size(), 6U);
  for (const auto& c : json["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto scores = c["logits"].get<std::vector<double>>();
    const auto& e = c["expect"];
    const RowStatistics row = of(scores);
    const auto near = [](double found, double expected) {
      EXPECT_NEAR(found, expected, 1e-13 * std::max(expected, 1e-300));
    };
    near(largest_probability(row), e["p1"]);
    near(remaining_probability(row), e["one_minus_p1"]);
    near(squared_probabilities(row), e["sum_p2"]);
    const Interval norm = jacobian_norm(row);
    const double exact = e["jacobian_norm"];
    EXPECT_LE(norm.lower, exact * (1 + 1e-12));
    EXPECT_GE(norm.upper, exact * (1 - 1e-12));
    EXPECT_GE(norm.lower, e["lower"].get<double>() * (1 - 1e-13));
    if (row.repeats == 1) near(norm.upper, e["upper"]);
    // The stored value comes from a dense eigensolver: 2^-52 of p_1 off.
    EXPECT_NEAR(jacobian_norm(softmax(scores)), exact, 0x1p-51);
  }
}

// The lower end is within 1.18 of the true norm ([N]'s own lower end p_1 (1 - p_1): within 2).
TEST(Statistics, BoundsHoldOnAnyRow) {
  EXPECT_TRUE(rc::check("any row", [] {
    const auto count = *rc::gen::inRange(2, 12);
    std::vector<double> scores;
    for (int i = 0; i < count; ++i) scores.push_back(*rc::gen::inRange(-80, 81) / 8.0);
    const RowStatistics row = of(scores);
    const auto p = softmax(scores);
    const double exact = jacobian_norm(p);
    const Interval norm = jacobian_norm(row);
    RC_ASSERT(norm.lower <= exact * (1 + 1e-10));
    RC_ASSERT(norm.upper >= exact * (1 - 1e-10));
    RC_ASSERT(norm.lower * 1.18 >= exact);
    RC_ASSERT(norm.upper <= 2 * norm.lower * (1 + 1e-10));
  }));
}

TEST(Statistics, SecularRootIsTheDenseNorm) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    const auto p = softmax(normals(17, seed, 2));
    EXPECT_NEAR(jacobian_norm(p), dense_jacobian_norm(p), 1e-9);
  }
  EXPECT_EQ(jacobian_norm(std::vector<double>{1.0}), 0);
  EXPECT_EQ(jacobian_norm(std::vector<double>{0.5, 0.5}), 0.5);
  EXPECT_EQ(jacobian_norm(std::vector<double>{3, 3, 2}), 0.375);
}

TEST(Statistics, MergeIsAsIfSeenTogether) {
  EXPECT_TRUE(rc::check("any split", [] {
    const auto count = *rc::gen::inRange(1, 20);
    std::vector<double> scores;
    for (int i = 0; i < count; ++i) scores.push_back(*rc::gen::inRange(-20, 21) / 4.0);
    const auto cut = scores.begin() + *rc::gen::inRange(0, count + 1);
    RowStatistics left = of({scores.begin(), cut});
    left.merge(of({cut, scores.end()}));
    const RowStatistics whole = of(scores);
    RC_ASSERT(left.maximum == whole.maximum);
    RC_ASSERT(left.second == whole.second);
    RC_ASSERT(left.repeats == whole.repeats);
    RC_ASSERT(left.keys == whole.keys);
    RC_ASSERT(left.max_abs == whole.max_abs);
    RC_ASSERT(std::fabs(left.tail - whole.tail) <= 1e-13 * (1 + whole.tail));
    RC_ASSERT(std::fabs(left.tail_squares - whole.tail_squares) <= 1e-13 * (1 + whole.tail));
    RC_ASSERT(std::fabs(left.squared_scores - whole.squared_scores) <= 1e-9);
  }));
}

// A tail of 1e-20 beside the maximum's own 1, which FP64's 1 - 1 / l would lose.
TEST(Statistics, SmallTailsAreKept) {
  const RowStatistics row = of({46.0517, 0.0});
  EXPECT_NEAR(remaining_probability(row), std::exp(-46.0517), 1e-30);
  EXPECT_EQ(1 - largest_probability(row), 0);
  EXPECT_NEAR(jacobian_norm(row).lower, 2 * std::exp(-46.0517), 1e-30);
  EXPECT_NEAR(jacobian_norm(std::vector<double>{1, std::exp(-46.0517)}), 2 * std::exp(-46.0517),
              1e-30);
}

// Every head figure against dense matrices in FP64.
TEST(Statistics, HeadFiguresAreTheDenseOnes) {
  auto t = random_tensors<double>({1, 1, 1, 24, 30, 8, 4}, 5, 1.5);
  t.options.mask = causal();
  // Two equal keys in the direction that all queries share: the maximum of most rows.
  for (double& x : t.q) x += 2;
  for (std::size_t c = 0; c < 16; ++c) t.k[c] = 1.5;
  const auto r = run_forward(t, fp64(), {.tiles = Tiles{5, 7}});
  const HeadStatistics head = reduce(r.statistics);
  double s2 = 0;
  double p2 = 0;
  double top = 0;
  double jacobian = 0;
  double condition = 0;
  std::size_t repeated = 0;
  for (std::size_t i = 0; i < 24; ++i) {
    std::vector<double> scores;
    for (std::size_t j = 0; j < i + 7; ++j) {
      double x = 0;
      for (std::size_t c = 0; c < 8; ++c) x += t.q[i * 8 + c] * t.k[j * 8 + c];
      scores.push_back(x / std::sqrt(8.0));
    }
    double row_s2 = 0;
    for (const double s : scores) {
      row_s2 += s * s;
      top = std::max(top, std::fabs(s));
    }
    double row_p2 = 0;
    const auto p = softmax(scores);
    for (const double x : p) row_p2 += x * x;
    const double norm = jacobian_norm(p);
    s2 += row_s2;
    p2 += row_p2;
    jacobian = std::max(jacobian, norm);
    condition = std::max(condition, norm * std::sqrt(row_s2 / row_p2));
    repeated += scores[0] >= *std::max_element(scores.begin(), scores.end()) - 1e-12 ? 1 : 0;
  }
  EXPECT_EQ(head.rows, 24U);
  EXPECT_EQ(head.empty_rows, 0U);
  EXPECT_EQ(head.repeated_rows, repeated);
  EXPECT_GT(repeated, 0U);
  EXPECT_NEAR(head.max_abs, top, 1e-13);
  EXPECT_NEAR(head.score_norm, std::sqrt(s2), 1e-12);
  EXPECT_NEAR(head.probability_norm, std::sqrt(p2), 1e-12);
  EXPECT_LE(head.jacobian.lower, jacobian * (1 + 1e-12));
  EXPECT_GE(head.jacobian.upper, jacobian * (1 - 1e-12));
  EXPECT_LE(head.row_condition.lower, condition * (1 + 1e-12));
  EXPECT_GE(head.row_condition.upper, condition * (1 - 1e-12));
  const Interval kappa = kappa_softmax(head);
  EXPECT_NEAR(kappa.upper, head.jacobian.upper * std::sqrt(s2 / p2), 1e-9);
  EXPECT_NEAR(kappa_score(3, 4, 2, 16), 1.5, 1e-15);
}

// More rows than are reduced together, no two alike, the most extreme of them anywhere.
TEST(Statistics, HeadIntervalsAreTheLargestOfTheRows) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    std::vector<RowStatistics> rows(200);
    Interval jacobian;
    Interval condition;
    for (RowStatistics& row : rows) {
      const double spread = std::exp(normal(random));
      const auto keys = static_cast<int>(random() % 20);
      for (int j = 0; j < keys; ++j) add_score(row, spread * normal(random));
      if (keys == 0) continue;
      const Interval norm = jacobian_norm(row);
      const double ratio = std::sqrt(row.squared_scores / squared_probabilities(row));
      jacobian.lower = std::max(jacobian.lower, norm.lower);
      jacobian.upper = std::max(jacobian.upper, norm.upper);
      condition.lower = std::max(condition.lower, norm.lower * ratio);
      condition.upper = std::max(condition.upper, norm.upper * ratio);
    }
    const HeadStatistics head = reduce(rows);
    EXPECT_DOUBLE_EQ(head.jacobian.lower, jacobian.lower);
    EXPECT_DOUBLE_EQ(head.jacobian.upper, jacobian.upper);
    EXPECT_DOUBLE_EQ(head.row_condition.lower, condition.lower);
    EXPECT_DOUBLE_EQ(head.row_condition.upper, condition.upper);
  }
}

TEST(Statistics, EmptyRowsAreCountedApart) {
  const std::vector<RowStatistics> rows(3);
  const HeadStatistics head = reduce(rows);
  EXPECT_EQ(head.empty_rows, 3U);
  EXPECT_EQ(head.rows, 0U);
  EXPECT_EQ(kappa_softmax(head).upper, 0);
  EXPECT_EQ(jacobian_norm(RowStatistics{}).upper, 0);
}

}  // namespace
}  // namespace ullage::attention::testing
