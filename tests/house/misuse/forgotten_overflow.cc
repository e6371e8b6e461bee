// A cast without an overflow convention must not compile: FP8 is not one thing. The twin names it.
#include "ullage/formats/rounding.h"

int main() {
  using ullage::formats::CastOptions;
  using ullage::formats::Overflow;
#ifdef ULLAGE_MISUSE
  const CastOptions options{};
#else
  const CastOptions options{.overflow = Overflow::saturate};
#endif
  return static_cast<int>(options.seed);
}
