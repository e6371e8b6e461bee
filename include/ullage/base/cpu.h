// What the CPU offers, and which of our code paths it takes. Decided at run time: one build runs on all.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage {

// From least to most; each path needs all that the ones before it need.
enum class CpuPath { portable, avx2, avx512, avx512_bf16 };
inline constexpr std::array<CpuPath, 4> kCpuPaths = {CpuPath::portable, CpuPath::avx2,
                                                     CpuPath::avx512, CpuPath::avx512_bf16};

const char* name_of(CpuPath path);
Result<CpuPath> cpu_path_from_name(std::string_view name);

// Empty when this CPU (and its operating system) can run the path, else the reason why not.
//   avx2: AVX2, FMA, F16C, BMI2; avx512: F, BW, DQ, VL, CD; avx512_bf16: AVX512_BF16 too.
std::string refusal(CpuPath path);

// The best path that this CPU runs, or the one that ULLAGE_CPU names (if it cannot run, the best below
// it, and forced_path_refusal says why). Read once, at the first call.
CpuPath cpu_path();
std::string forced_path_refusal();

// For tests: takes `path` instead until destroyed; the path must be one that refusal() allows.
class ScopedCpuPath {
 public:
  explicit ScopedCpuPath(CpuPath path);
  ~ScopedCpuPath();
  ScopedCpuPath(const ScopedCpuPath&) = delete;
  ScopedCpuPath& operator=(const ScopedCpuPath&) = delete;

 private:
  int before_;
};

// "AMD EPYC ..." as the operating system names it, or "unknown".
std::string cpu_model();
// AMX tiles with BF16: reported by `ullage doctor`; no kernel uses them.
bool cpu_has_amx_bf16();

}  // namespace ullage
