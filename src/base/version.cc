#include "ullage/base/version.h"

namespace ullage {

const char* version() { return ULLAGE_VERSION; }

}  // namespace ullage
