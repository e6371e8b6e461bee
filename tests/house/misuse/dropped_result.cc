// Dropping a Result must not compile; the twin, which looks at it, must.
#include "ullage/base/cpu.h"

int main() {
#ifdef ULLAGE_MISUSE
  ullage::cpu_path_from_name("avx2");
  return 0;
#else
  return ullage::cpu_path_from_name("avx2").ok() ? 0 : 1;
#endif
}
