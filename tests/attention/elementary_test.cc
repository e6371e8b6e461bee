// The room's own exp, log, tanh and cosine against long double, within the units that elementary.h states.
#include "attention/elementary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace ullage::attention {
namespace {

// |found - expected| in units of the last place of expected.
double ulps(double found, long double expected) {
  const auto nearest = static_cast<double>(expected);
  const double step = std::nextafter(std::fabs(nearest), HUGE_VAL) - std::fabs(nearest);
  return static_cast<double>(std::fabs(static_cast<long double>(found) - expected) / step);
}

TEST(Elementary, ErrorsAreAsStated) {
  std::mt19937_64 engine(1);
  std::uniform_real_distribution<double> wide(-708, 709);
  std::uniform_real_distribution<double> near(-2, 2);
  std::uniform_real_distribution<double> turn(0, 1);
  double exp_worst = 0;
  double log_worst = 0;
  double tanh_worst = 0;
  double cos_worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = i % 2 == 0 ? wide(engine) : near(engine);
    exp_worst = std::max(exp_worst, ulps(exp_of(x), std::exp(static_cast<long double>(x))));
    const double y = i % 2 == 0 ? std::exp(wide(engine)) : 1 + near(engine) / 3;
    log_worst = std::max(log_worst, ulps(log_of(y), std::log(static_cast<long double>(y))));
    const double z = near(engine) * (i % 3 == 0 ? 8 : 1);
    tanh_worst = std::max(tanh_worst, ulps(tanh_of(z), std::tanh(static_cast<long double>(z))));
    const double t = turn(engine);
    const long double angle = 2 * std::numbers::pi_v<long double> * static_cast<long double>(t);
    cos_worst = std::max(
        cos_worst,
        static_cast<double>(std::fabs(static_cast<long double>(cos_of_turn(t)) - std::cos(angle))));
  }
  EXPECT_LT(exp_worst, 1);
  EXPECT_LT(log_worst, 1);
  EXPECT_LT(tanh_worst, 3);
  EXPECT_LT(cos_worst, 0x1p-52);
}

TEST(Elementary, EndsOfTheRange) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(exp_of(-infinity), 0);
  EXPECT_EQ(exp_of(infinity), infinity);
  EXPECT_EQ(exp_of(0.0), 1);
  EXPECT_EQ(exp_of(-745.0), 0x1p-1074);
  EXPECT_EQ(exp_of(-746.0), 0);
  EXPECT_TRUE(std::isnan(exp_of(std::nan(""))));
  EXPECT_EQ(exp_of(-104.0F), 0.0F);
  EXPECT_EQ(exp_of(-103.0F), 0x1p-149F);
  EXPECT_EQ(log_of(0.0), -infinity);
  EXPECT_EQ(log_of(1.0), 0);
  EXPECT_EQ(log_of(infinity), infinity);
  EXPECT_TRUE(std::isnan(log_of(-1.0)));
  EXPECT_LT(ulps(log_of(0x1p-1074), std::log(0x1p-1074L)), 1);
  EXPECT_EQ(tanh_of(100.0), 1);
  EXPECT_EQ(tanh_of(-100.0), -1);
  EXPECT_EQ(tanh_of(0.0), 0);
  EXPECT_EQ(cos_of_turn(0), 1);
  EXPECT_EQ(cos_of_turn(0.5), -1);
  EXPECT_EQ(cos_of_turn(0.25), 0);
}

}  // namespace
}  // namespace ullage::attention
