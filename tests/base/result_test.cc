// Result: which side it holds, what its macros do, and the one line that a user reads.
#include "ullage/base/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>

namespace ullage {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Error sample() { return Error{Code::size_mismatch, "bytes do not fit", "q.weight", "8", "6"}; }

Result<int> half(int number) {
  if (number % 2 != 0) return Error{Code::value_invalid, "odd", "number", "", ""};
  return number / 2;
}

TEST(Result, HoldsAValue) {
  Result<int> result = half(8);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  EXPECT_EQ(result.value(), 4);
  *result = 5;
  EXPECT_EQ(*std::as_const(result), 5);
}

TEST(Result, HoldsAnError) {
  const Result<int> result = half(7);
  ASSERT_FALSE(result.ok());
  EXPECT_FALSE(static_cast<bool>(result));
  EXPECT_EQ(result.error().code, Code::value_invalid);
}

TEST(Result, ValueOfTheErrorsOwnParts) {
  const Result<std::string> text = std::string("size_mismatch");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->size(), 13U);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 3);
  const std::unique_ptr<int> again = *Result<std::unique_ptr<int>>(std::make_unique<int>(4));
  EXPECT_EQ(*again, 4);
}

TEST(Status, DefaultsToOk) {
  const Status fine;
  EXPECT_TRUE(fine.ok());
  const Status broken = sample();
  EXPECT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().where, "q.weight");
  EXPECT_EQ(Status(sample()).error().found, "6");
}

Status even(int number) {
  ULLAGE_TRY(half(number));
  return {};
}

Result<int> quarter(int number) {
  ULLAGE_ASSIGN(const int first, half(number));
  ULLAGE_ASSIGN(const int second, half(first));
  return second;
}

TEST(Try, PassesErrorsOnAndGoesOnWithoutOne) {
  EXPECT_TRUE(even(2).ok());
  EXPECT_EQ(even(3).error().what, "odd");
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().code, Code::value_invalid);
  EXPECT_EQ(quarter(7).error().code, Code::value_invalid);
}

TEST(Code, EveryOneHasItsOwnName) {
  std::set<std::string> names;
  const int count = static_cast<int>(Code::interrupted) + 1;
  for (int code = 0; code < count; ++code) names.insert(name_of(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(count));
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_STREQ(name_of(Code::header_too_large), "header_too_large");
  EXPECT_STREQ(name_of(static_cast<Code>(count)), "unknown");
}

TEST(Message, SaysWhereWhatExpectedAndFound) {
  EXPECT_EQ(sample().message(), "q.weight: bytes do not fit (expected 8, found 6)");
  Error error = sample();
  error.expected.clear();
  EXPECT_EQ(error.message(), "q.weight: bytes do not fit (found 6)");
  error.found.clear();
  EXPECT_EQ(error.message(), "q.weight: bytes do not fit");
  error.where.clear();
  EXPECT_EQ(error.message(), "bytes do not fit");
  error.expected = "8";
  EXPECT_EQ(error.message(), "bytes do not fit (expected 8)");
}

TEST(Message, IsOneSafeLineOfBoundedLength) {
  Error error = sample();
  error.where = "a\n\x1b]52;c;x\x07" + std::string(100000, 'y');
  error.found = std::string(100000, '\x1b');
  error.what = std::string(100000, 'z');
  const std::string line = error.message();
  EXPECT_LT(line.size(), 4000U);
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, Not(HasSubstr("\x1b")));
  EXPECT_THAT(line, HasSubstr("(100000 bytes)"));
}

}  // namespace
}  // namespace ullage
