#include "ullage/attention/fast.h"

#include <cmath>
#include <cstddef>

#include "attention/fast_kernels.h"
#include "attention/fast_plan.h"
#include "attention/fast_workspace.h"
#include "ullage/base/cpu.h"

namespace ullage::attention {

FastWorkspace::FastWorkspace() : buffers_(std::make_unique<Buffers>()) {}
FastWorkspace::~FastWorkspace() = default;
FastWorkspace::FastWorkspace(FastWorkspace&&) noexcept = default;
FastWorkspace& FastWorkspace::operator=(FastWorkspace&&) noexcept = default;

const FastKernels* fast_kernels(CpuPath path, bool bf16) {
  switch (path) {
    case CpuPath::avx512_bf16:
      return bf16 ? &kBf16Attention : &kAvx512Attention;
    case CpuPath::avx512:
      return &kAvx512Attention;
    case CpuPath::avx2:
      return &kAvx2Attention;
    case CpuPath::portable:
      break;
  }
  return nullptr;
}

template <class T>
std::string fast_path_reason(const Inputs<T>& inputs, const FastOptions& options) {
  // Kernels count rows in 32 bits, and a little beyond the last.
  constexpr std::size_t kMostRows = std::size_t{1} << 30;
  if (fast_kernels(cpu_path(), kIsBf16<T>) == nullptr)
    return std::string("no fast kernel for the CPU path ") + name_of(cpu_path());
  if (options.shift.rule == ShiftRule::published) return "the published shift";
  if (inputs.bias) return "an additive bias or mask";
  if (!inputs.sinks.empty()) return "attention sinks";
  if (!inputs.descales.q.empty() || !inputs.descales.k.empty() || !inputs.descales.v.empty())
    return "descales of FP8 operands";
  if (!(inputs.score_scale() > 0)) return "a score scale that is not positive";
  // Kernels multiply by these as FP32: 0 or infinity times infinity would be NaN.
  const ScoreUnits units = score_units(inputs);
  const float factor = inputs.soft_cap == 0 ? units.scale : units.cap_scale;
  if (!(factor > 0) || !std::isfinite(factor))
    return "a score scale, over the soft cap, beyond the range of FP32";
  if (inputs.q.column != 1 || inputs.k.column != 1 || inputs.v.column != 1)
    return "columns that are not next to each other";
  if (inputs.shape.queries > kMostRows || inputs.shape.keys > kMostRows)
    return "more than 2^30 rows";
  return "";
}

template <class T>
const char* fast_path_name() {
  const FastKernels* kernels = fast_kernels(cpu_path(), kIsBf16<T>);
  return kernels == nullptr ? "reference" : kernels->name;
}

template std::string fast_path_reason(const Inputs<float>&, const FastOptions&);
template std::string fast_path_reason(const Inputs<Bf16>&, const FastOptions&);
template const char* fast_path_name<float>();
template const char* fast_path_name<Bf16>();

}  // namespace ullage::attention
