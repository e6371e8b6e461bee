// The version is the one that CMakeLists.txt states.
#include "ullage/base/version.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ullage {
namespace {

TEST(Version, IsTheProjects) { EXPECT_STREQ(version(), ULLAGE_PROJECT_VERSION); }

TEST(Version, IsThreeNumbers) {
  EXPECT_THAT(version(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace ullage
