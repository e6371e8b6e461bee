// What a machine must have for the component to run, apart from how that is asked: testable without a GPU.
#pragma once

#include <string>

#include "ullage/base/result.h"

namespace ullage::cuda {

// What the CUDA runtime says of a machine. Versions are 1000 major + 10 minor.
struct Machine {
  int runtime_version = 0;  // the CUDA that the component was built with
  int driver_version = 0;   // the newest CUDA that the driver runs; 0: no driver
  std::string trouble;  // why devices could not be counted, in CUDA's own words; empty: they could
  int devices = 0;
  int capability_major = 0;  // of the current device
  int capability_minor = 0;
};

// Nothing, or the first thing that is missing (Code::device_unavailable), with what to do about it.
Status meets_requirements(const Machine& machine);

}  // namespace ullage::cuda
