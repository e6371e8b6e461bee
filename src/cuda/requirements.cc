#include "cuda/requirements.h"

#include <utility>

namespace ullage::cuda {
namespace {

constexpr int kLeastMajor = 8;

std::string dotted(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Error unavailable(std::string what, std::string expected = "", std::string found = "") {
  return {Code::device_unavailable, std::move(what), "CUDA", std::move(expected), std::move(found)};
}

}  // namespace

Status meets_requirements(const Machine& machine) {
  if (machine.driver_version == 0)
    return unavailable("no NVIDIA driver is loaded; install one, or use the CPU");
  // Minor versions of one major are compatible; an older major is not.
  if (machine.driver_version / 1000 < machine.runtime_version / 1000)
    return unavailable("the NVIDIA driver is too old; update it, or use the CPU",
                       "a driver for CUDA " + dotted(machine.runtime_version),
                       "one for CUDA " + dotted(machine.driver_version));
  if (!machine.trouble.empty())
    return unavailable("the driver gives no device: " + machine.trouble);
  if (machine.devices == 0)
    return unavailable(
        "no GPU is visible; look at CUDA_VISIBLE_DEVICES and nvidia-smi, or use the CPU");
  if (machine.capability_major < kLeastMajor)
    return unavailable(
        "the GPU is too old; use the CPU", "compute capability 8.0 or later",
        std::to_string(machine.capability_major) + "." + std::to_string(machine.capability_minor));
  return {};
}

}  // namespace ullage::cuda
