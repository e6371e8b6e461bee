// Numbers as text read back: shortest the same, rounded within half a unit.
#include "ullage/report/numbers.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <clocale>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace ullage::report {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Numbers, ShortestSpellsSpecialValues) {
  EXPECT_EQ(format_shortest(0.1), "0.1");
  EXPECT_EQ(format_shortest(0.1f), "0.1");
  EXPECT_EQ(format_shortest(448.0), "448");
  EXPECT_EQ(format_shortest(-0.0), "-0");
  EXPECT_EQ(format_shortest(kInfinity), "inf");
  EXPECT_EQ(format_shortest(-kInfinity), "-inf");
  EXPECT_EQ(format_shortest(kNan), "nan");
  EXPECT_EQ(format_shortest(-kNan), "nan");
}

RC_GTEST_PROP(Numbers, ShortestReadsBackTheSame, (double value)) {
  RC_ASSERT(std::strtod(format_shortest(value).c_str(), nullptr) == value);
}

RC_GTEST_PROP(Numbers, ShortestFloatReadsBackTheSame, (float value)) {
  RC_ASSERT(std::strtof(format_shortest(value).c_str(), nullptr) == value);
}

TEST(Numbers, SignificantDigits) {
  EXPECT_EQ(format_significant(1.4), "1.40");
  EXPECT_EQ(format_significant(0), "0");
  EXPECT_EQ(format_significant(-1.236), "-1.24");
  EXPECT_EQ(format_significant(9.996), "10.0");
  EXPECT_EQ(format_significant(999.6), "1000");
  EXPECT_EQ(format_significant(1234.5), "1234");
  EXPECT_EQ(format_significant(999999), "1.00e6");
  EXPECT_EQ(format_significant(0.0001), "0.000100");
  EXPECT_EQ(format_significant(0.00009999), "0.000100");
  EXPECT_EQ(format_significant(2.5e-7), "2.50e-7");
  EXPECT_EQ(format_significant(3.1e12), "3.10e12");
  EXPECT_EQ(format_significant(1e100, 1), "1e100");
  EXPECT_EQ(format_significant(5e-324), "4.94e-324");
  EXPECT_EQ(format_significant(kNan), "nan");
  EXPECT_EQ(format_significant(-kInfinity), "-inf");
}

// Read back as a long double: at 16 digits half a unit is as small as what a double's reading rounds away.
RC_GTEST_PROP(Numbers, SignificantIsWithinHalfAUnitOfItsLastDigit, (double value)) {
  const int digits = *rc::gen::inRange(1, 18);
  const long double shown = std::strtold(format_significant(value, digits).c_str(), nullptr);
  const long double half_unit =
      std::fabs(static_cast<long double>(value)) * 0.5L * std::pow(10.0L, 1 - digits);
  RC_ASSERT(std::fabs(shown - value) <= half_unit * 1.001L);
}

TEST(Numbers, AboveIsNeverBelow) {
  EXPECT_EQ(format_above(221.2127), "222");
  EXPECT_EQ(format_above(222.0), "222");
  EXPECT_EQ(format_above(0.045749), "0.0458");
  EXPECT_EQ(format_above(9.991), "10.0");
  EXPECT_EQ(format_above(1234.2), "1235");
  EXPECT_EQ(format_above(2.501e-7), "2.51e-7");
  EXPECT_EQ(format_above(0), "0");
  EXPECT_EQ(format_above(-1.239), "-1.23");
  EXPECT_EQ(format_above(kInfinity), "inf");
  EXPECT_EQ(format_above(kNan), "nan");
}

RC_GTEST_PROP(Numbers, AboveIsWithinAUnitOfItsLastDigit, (double value)) {
  const int digits = *rc::gen::inRange(1, 12);
  const double shown = std::strtod(format_above(value, digits).c_str(), nullptr);
  RC_ASSERT(shown >= value);
  RC_ASSERT(shown - value <= std::fabs(value) * 1.0001 * std::pow(10.0, 1 - digits));
}

TEST(Numbers, FixedCountsBytesDurations) {
  EXPECT_EQ(format_fixed(1.25, 1), "1.2");
  EXPECT_EQ(format_fixed(1.35, 1), "1.4");
  EXPECT_EQ(format_fixed(-2, 0), "-2");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(999 * 1024), "999 KiB");
  EXPECT_EQ(format_bytes(1023 * 1024), "0.999 MiB");
  EXPECT_EQ(format_bytes(3221225472), "3.00 GiB");
  EXPECT_EQ(format_bytes(~0ull), "16.0 EiB");
  EXPECT_EQ(format_duration(0.85), "850 ms");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(59.96), "1 min 00 s");
  EXPECT_EQ(format_duration(245), "4 min 05 s");
  EXPECT_EQ(format_duration(7800), "2 h 10 min");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(kInfinity), "?");
  EXPECT_EQ(format_duration(1e300), "1.00e300 s");
}

TEST(Numbers, RoundedNumbersPrintShort) {
  EXPECT_EQ(format_shortest(round_to_digits(1.0 / 3, 6)), "0.333333");
  EXPECT_EQ(round_to_digits(448, 3), 448);
  EXPECT_EQ(round_to_digits(0, 3), 0);
  EXPECT_EQ(round_to_digits(1.7976931348623157e308, 2), 1.7976931348623157e308);
  EXPECT_TRUE(std::isnan(round_to_digits(kNan, 3)));
}

TEST(Numbers, LocaleDoesNotMatter) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr)
    GTEST_SKIP() << "no locale with a decimal comma here";
  const std::string shown = format_significant(1.5) + format_shortest(2.5);
  std::setlocale(LC_ALL, before.c_str());
  EXPECT_EQ(shown, "1.502.5");
}

}  // namespace
}  // namespace ullage::report
