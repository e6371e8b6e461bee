// What a machine must have for the component, each requirement taken away in turn; needs no GPU.
#include "cuda/requirements.h"

#include <gtest/gtest.h>

#include <string>

namespace ullage::cuda {
namespace {

const Machine kGood = {.runtime_version = 13000,
                       .driver_version = 13010,
                       .trouble = {},
                       .devices = 1,
                       .capability_major = 9,
                       .capability_minor = 0};

// The message of what `change` takes away from a good machine.
template <class Change>
std::string refusal(Change change) {
  Machine machine = kGood;
  change(machine);
  const Status status = meets_requirements(machine);
  EXPECT_FALSE(status.ok());
  if (status.ok()) return "";
  EXPECT_EQ(status.error().code, Code::device_unavailable);
  return status.error().message();
}

TEST(Requirements, AGoodMachineMeetsThem) {
  EXPECT_TRUE(meets_requirements(kGood).ok());
  Machine machine = kGood;
  machine.driver_version = 13000;
  machine.runtime_version = 13020;  // a later minor version of the same major
  EXPECT_TRUE(meets_requirements(machine).ok());
  machine.capability_major = 8;
  EXPECT_TRUE(meets_requirements(machine).ok());
}

TEST(Requirements, SayWhatIsMissing) {
  EXPECT_NE(refusal([](Machine& m) { m.driver_version = 0; }).find("no NVIDIA driver"),
            std::string::npos);
  EXPECT_NE(refusal([](Machine& m) {
              m.trouble = "system not yet initialized";
            }).find("system not yet initialized"),
            std::string::npos);
  EXPECT_NE(refusal([](Machine& m) { m.devices = 0; }).find("CUDA_VISIBLE_DEVICES"),
            std::string::npos);
}

TEST(Requirements, AnOldDriverOrGpuIsNamedWithBothVersions) {
  // An old driver fails to count devices too: the reason is its age.
  const std::string driver = refusal([](Machine& m) {
    m.driver_version = 12040;
    m.trouble = "CUDA driver version is insufficient for CUDA runtime version";
    m.devices = 0;
  });
  EXPECT_NE(driver.find("too old"), std::string::npos) << driver;
  EXPECT_NE(driver.find("12.4"), std::string::npos) << driver;
  EXPECT_NE(driver.find("13.0"), std::string::npos) << driver;
  const std::string gpu = refusal([](Machine& m) {
    m.capability_major = 7;
    m.capability_minor = 5;
  });
  EXPECT_NE(gpu.find("7.5"), std::string::npos) << gpu;
  EXPECT_NE(gpu.find("8.0"), std::string::npos) << gpu;
}

}  // namespace
}  // namespace ullage::cuda
