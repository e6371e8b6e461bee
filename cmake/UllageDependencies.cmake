# Every library that the build needs, found once. docs/dependencies.md says why each is here.
include(UllageLinked)
if(ULLAGE_MISSING)
  message(FATAL_ERROR "ullage needs libraries that are not here: ${ULLAGE_MISSING}; tools/setup.sh installs them on Debian")
endif()
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
# Highway is used by its headers alone.
find_path(ULLAGE_HIGHWAY_INCLUDE hwy/highway.h REQUIRED)
mark_as_advanced(ULLAGE_HIGHWAY_INCLUDE)

if(ULLAGE_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
endif()
