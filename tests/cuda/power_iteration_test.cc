// Warm power iteration on the GPU against the CPU's, and against exact spectra from below.
#include "ullage/cuda/power_iteration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cuda/device_rows.h"
#include "ullage/spectrum/power_iteration.h"

namespace ullage::cuda {
namespace {

using PowerIterationTest = GpuTest;

struct Shape {
  int rows;
  int query_width;
  int key_width;
};

TEST_F(PowerIterationTest, FollowsTheCpu) {
  std::mt19937_64 random(1);
  DeviceHeads heads;
  std::vector<std::unique_ptr<MadeRows>> made;
  std::vector<HeadPair> pairs;
  for (const Shape shape :
       {Shape{1, 8, 8}, Shape{16, 64, 64}, Shape{64, 768, 768}, Shape{80, 333, 333},
        Shape{96, 100, 257}, Shape{128, 4096, 4096}, Shape{256, 1024, 520}}) {
    for (const Element element : {Element::bf16, Element::f32}) {
      for (const int width : {shape.query_width, shape.key_width}) {
        made.push_back(std::make_unique<MadeRows>(gaussian(shape.rows, width, random), element,
                                                  std::vector<double>{}, false));
        heads.add(*made.back(), made.size() % 4 < 2 ? Layout::aligned : Layout::as_made);
      }
      const int last = static_cast<int>(made.size());
      pairs.push_back({last - 2, last - 1});
    }
  }
  auto plan = PowerIteration::make(heads.sides(), pairs);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  std::vector<spectrum::PowerState> states(pairs.size());
  // Cold, then warm: what a run leaves is where the next starts.
  for (const int iterations : {0, 1, 3}) {
    ASSERT_TRUE(plan->run(iterations, nullptr).ok());
    const auto found = plan->read(nullptr);
    ASSERT_TRUE(found.ok()) << found.error().message();
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const MadeRows& query = *made[static_cast<std::size_t>(pairs[p].query)];
      const MadeRows& key = *made[static_cast<std::size_t>(pairs[p].key)];
      const double want = power_iteration(query.rows, key.rows, iterations, states[p]);
      EXPECT_NEAR((*found)[p], want, 2e-5 * want)
          << query.rows.rows << 'x' << query.rows.width << " element "
          << static_cast<int>(query.rows.element) << " iterations " << iterations;
    }
  }
}

TEST_F(PowerIterationTest, ZeroIsZeroAndWhatFp32DoesNotHoldIsNaN) {
  std::mt19937_64 random(2);
  DeviceHeads heads;
  std::vector<std::unique_ptr<MadeRows>> made;
  const Matrix good = gaussian(64, 128, random);
  const auto add = [&](const Matrix& values) {
    made.push_back(std::make_unique<MadeRows>(values, Element::f32, std::vector<double>{}, false));
    return heads.add(*made.back(), Layout::aligned);
  };
  const auto scaled = [&](double factor) {
    Matrix out = good;
    for (int i = 0; i < out.rows(); ++i)
      for (double& value : out.row(i)) value *= factor;
    return out;
  };
  Matrix nan = good;
  nan(10, 10) = std::numeric_limits<double>::quiet_NaN();
  const int plain = add(good);
  const int zero = add(Matrix(64, 128));
  const int broken = add(nan);
  const int large = add(scaled(1e35));
  const int small = add(scaled(1e-35));
  const std::vector<HeadPair> pairs = {{plain, plain}, {zero, plain},  {plain, broken},
                                       {large, plain}, {small, small}, {broken, plain}};
  auto plan = PowerIteration::make(heads.sides(), pairs);
  ASSERT_TRUE(plan.ok());
  for (int run = 0; run < 2; ++run) {
    ASSERT_TRUE(plan->run(2, nullptr).ok());
    const auto found = plan->read(nullptr);
    ASSERT_TRUE(found.ok());
    EXPECT_GT((*found)[0], 0.0);
    EXPECT_EQ((*found)[1], 0.0);
    for (std::size_t p = 2; p < pairs.size(); ++p) EXPECT_TRUE(std::isnan((*found)[p])) << p;
  }
}

TEST_F(PowerIterationTest, Fp64RowsAreRefused) {
  std::mt19937_64 random(4);
  DeviceHeads heads;
  const MadeRows wide(gaussian(8, 16, random), Element::f64, {}, false);
  heads.add(wide, Layout::aligned);
  const std::vector<HeadPair> pairs = {{0, 0}};
  EXPECT_EQ(PowerIteration::make(heads.sides(), pairs).error().code, Code::value_invalid);
}

}  // namespace
}  // namespace ullage::cuda
