// The version of ullage, as CMakeLists.txt states it and nothing else does.
#pragma once

namespace ullage {

// "0.1.0"
const char* version();

}  // namespace ullage
