// Every CPU path that this machine runs, as a gtest parameter.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "ullage/base/cpu.h"

namespace ullage::spectrum {

class PerPath : public testing::TestWithParam<CpuPath> {
 protected:
  void SetUp() override {
    if (const std::string why = refusal(GetParam()); !why.empty()) {
      GTEST_SKIP() << name_of(GetParam()) << ": " << why;
    }
    scoped_.emplace(GetParam());
  }

 private:
  std::optional<ScopedCpuPath> scoped_;
};

inline std::string path_name(const testing::TestParamInfo<CpuPath>& info) {
  return name_of(info.param);
}

}  // namespace ullage::spectrum
