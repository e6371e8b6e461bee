#include "cuda/hardware_cast.h"

#include <cuda_runtime_api.h>

#include <array>

#include "cuda/runtime.h"

namespace ullage::cuda {
namespace {

enum class Kind { e4m3, e5m2, fp16, bf16, e2m1, e2m3, e3m2, e8m0 };
constexpr std::array<std::string_view, 8> kNames = {"e4m3", "e5m2", "fp16", "bf16",
                                                    "e2m1", "e2m3", "e3m2", "e8m0"};

// The code of x; false where no instruction makes it.
__device__ bool convert(Kind kind, float x, std::uint16_t& code) {
  [[maybe_unused]] std::uint16_t two = 0;  // codes of 0 and x, x in the low half
  [[maybe_unused]] std::uint32_t wide = 0;
  switch (kind) {
#if __CUDA_ARCH__ >= 890
    case Kind::e4m3:
      asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(two) : "f"(0.0F), "f"(x));
      code = two & 0xFF;
      return true;
    case Kind::e5m2:
      asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(two) : "f"(0.0F), "f"(x));
      code = two & 0xFF;
      return true;
#endif
#if __CUDA_ARCH__ >= 800
    case Kind::fp16:
      asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(wide) : "f"(0.0F), "f"(x));
      code = wide & 0xFFFF;
      return true;
    case Kind::bf16:
      asm("cvt.rn.satfinite.bf16x2.f32 %0, %1, %2;" : "=r"(wide) : "f"(0.0F), "f"(x));
      code = wide & 0xFFFF;
      return true;
#endif
#if defined(__CUDA_ARCH_FEAT_SM100_ALL)
    case Kind::e2m1:
      asm("{.reg .b8 t; cvt.rn.satfinite.e2m1x2.f32 t, %1, %2; cvt.u16.u8 %0, t;}"
          : "=h"(two)
          : "f"(0.0F), "f"(x));
      code = two & 0xF;
      return true;
    case Kind::e2m3:
      asm("cvt.rn.satfinite.e2m3x2.f32 %0, %1, %2;" : "=h"(two) : "f"(0.0F), "f"(x));
      code = two & 0x3F;
      return true;
    case Kind::e3m2:
      asm("cvt.rn.satfinite.e3m2x2.f32 %0, %1, %2;" : "=h"(two) : "f"(0.0F), "f"(x));
      code = two & 0x3F;
      return true;
    case Kind::e8m0:
      asm("cvt.rp.satfinite.ue8m0x2.f32 %0, %1, %2;" : "=h"(two) : "f"(0.0F), "f"(x));
      code = two & 0xFF;
      return true;
#endif
    default:
      return false;
  }
}

__global__ void convert_all(Kind kind, const float* values, std::size_t count, std::uint16_t* codes,
                            int* missing) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count && !convert(kind, values[i], codes[i])) *missing = 1;
}

}  // namespace

Status hardware_cast(std::string_view format, const float* values, std::size_t count,
                     std::uint16_t* codes, int* missing) {
  std::size_t kind = 0;
  while (kind < kNames.size() && kNames[kind] != format) ++kind;
  const auto blocks = static_cast<unsigned>((count + 255) / 256);
  convert_all<<<blocks, 256>>>(static_cast<Kind>(kind), values, count, codes, missing);
  return check_launch("the hardware's conversions");
}

}  // namespace ullage::cuda
