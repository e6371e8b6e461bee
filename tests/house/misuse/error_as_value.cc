// An Error is not a value of another type; the twin makes a Result of it.
#include "ullage/base/result.h"

int main() {
  const ullage::Error error{ullage::Code::usage, "no", "", "", ""};
#ifdef ULLAGE_MISUSE
  const int value = error;
#else
  const ullage::Result<int> result = error;
  const int value = result.ok() ? 1 : 0;
#endif
  return value;
}
