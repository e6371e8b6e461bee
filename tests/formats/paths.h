// Tests that run once for each CPU path, and say why where this CPU has not all.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "ullage/base/cpu.h"

namespace ullage::formats {

class OnEachPath : public testing::TestWithParam<CpuPath> {
 protected:
  void SetUp() override {
    if (const std::string why = refusal(GetParam()); !why.empty()) GTEST_SKIP() << why;
    path_.emplace(GetParam());
  }

 private:
  std::optional<ScopedCpuPath> path_;
};

inline std::string path_name(const testing::TestParamInfo<CpuPath>& info) {
  return name_of(info.param);
}

}  // namespace ullage::formats
