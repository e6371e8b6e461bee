# Every library that ullage links, found once. docs/dependencies.md says why each is here. The installed CMake
# package includes this file too: a static library hands its own libraries on to whoever links it.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
# Highway is used by its headers alone.
find_path(ULLAGE_HIGHWAY_INCLUDE hwy/highway.h REQUIRED)
mark_as_advanced(ULLAGE_HIGHWAY_INCLUDE)

# ullage_find_library(NAME): an imported target ullage_NAME for a library without a usable CMake file, and
# ULLAGE_<NAME> as the word that rooms link.
#   openblas, lapacke: none, or one that names a build folder.
function(ullage_find_library name)
  string(TOUPPER ${name} upper)
  find_library(ULLAGE_${upper}_LIBRARY ${name} REQUIRED)
  mark_as_advanced(ULLAGE_${upper}_LIBRARY)
  if(NOT TARGET ullage_${name})
    add_library(ullage_${name} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(ullage_${name} PROPERTIES IMPORTED_LOCATION ${ULLAGE_${upper}_LIBRARY})
  endif()
  set(ULLAGE_${upper} ullage_${name} PARENT_SCOPE)
endfunction()
ullage_find_library(openblas)
ullage_find_library(lapacke)

if(ULLAGE_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
endif()
