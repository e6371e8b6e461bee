// Prints the path that this process takes, and why the forced one was refused: cpu_test.cc runs it.
#include <cstdio>

#include "ullage/base/cpu.h"

int main() {
  std::printf("%s\n%s\n", ullage::name_of(ullage::cpu_path()),
              ullage::forced_path_refusal().c_str());
  return 0;
}
