# How a room, its tests and its fuzz targets are built.

# What every target of ours is compiled with.
add_library(ullage_flags INTERFACE)
target_compile_features(ullage_flags INTERFACE cxx_std_20)
# No contraction: the same source gives the same bits on every dispatch path that does not ask for a fused operation.
target_compile_options(ullage_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -ffp-contract=off $<$<BOOL:${ULLAGE_WERROR}>:-Werror>>
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-fmad=false;-lineinfo;-Xcompiler=-Wall,-Wextra,-ffp-contract=off>"
  $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${ULLAGE_WERROR}>>:-Werror=all-warnings>)
# GCC 12 sees overlapping copies in operator+ of a literal and a temporary string (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(ullage_flags INTERFACE -Wno-restrict)
endif()
if(ULLAGE_SANITIZE)
  target_compile_options(ullage_flags INTERFACE -fsanitize=${ULLAGE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ullage_flags INTERFACE -fsanitize=${ULLAGE_SANITIZE})
  # Instrumented code keeps GCC 12 from seeing initialisations that it sees otherwise (std::regex).
  target_compile_options(ullage_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
if(ULLAGE_FUZZERS)
  target_compile_options(ullage_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# ullage_room(NAME [USES room...] [LINKS library...] [SOURCES file...]): the static library of src/NAME, headers in
# include/ullage/NAME. Every *.cc of the folder belongs to it, and a new file needs no edit here, unless SOURCES lists some.
function(ullage_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINKS;SOURCES" ${ARGN})
  if(NOT ROOM_SOURCES)
    file(GLOB ROOM_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cc)
  endif()
  add_library(ullage_${name} STATIC ${ROOM_SOURCES})
  add_library(ullage::${name} ALIAS ullage_${name})
  set_target_properties(ullage_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(ullage_${name} PUBLIC cxx_std_20)
  target_include_directories(ullage_${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM ROOM_USES PREPEND "ullage::")
  target_link_libraries(ullage_${name} PUBLIC ${ROOM_USES} PRIVATE $<BUILD_INTERFACE:ullage_flags> ${ROOM_LINKS})
  set_property(GLOBAL APPEND PROPERTY ULLAGE_ROOMS ${name})
endfunction()

# ullage_test(ROOM [LINKS library...] [SOURCES file...]): one program from every *.cc under tests/ROOM, every *.cu where
# the build has CUDA, and files of other rooms' tests. Suites whose name starts with Long get the label `long` (make
# test-all runs them), those with Release the label `release` (too slow under a sanitizer).
function(ullage_test room)
  cmake_parse_arguments(TEST "" "" "LINKS;SOURCES" ${ARGN})
  set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(ULLAGE_CUDA)
    list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  add_executable(${room}_test ${sources} ${TEST_SOURCES})
  target_include_directories(${room}_test PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${room}_test PRIVATE ULLAGE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  target_link_libraries(${room}_test PRIVATE ullage_flags ullage::${room} ${TEST_LINKS} GTest::gmock_main)
  gtest_discover_tests(${room}_test TEST_PREFIX "${room}." DISCOVERY_TIMEOUT 120
    TEST_FILTER "-Long*:*/Long*:Release*:*/Release*")
  gtest_discover_tests(${room}_test TEST_PREFIX "${room}." DISCOVERY_TIMEOUT 120
    TEST_LIST ${room}_long_tests TEST_FILTER "Long*:*/Long*" PROPERTIES LABELS long)
  gtest_discover_tests(${room}_test TEST_PREFIX "${room}." DISCOVERY_TIMEOUT 120
    TEST_LIST ${room}_release_tests TEST_FILTER "Release*:*/Release*" PROPERTIES LABELS release)
endfunction()

# ullage_fuzz(NAME LINKS library...): the libFuzzer program NAME_fuzz from NAME_fuzz.cc; tools/fuzz.sh runs it.
function(ullage_fuzz name)
  cmake_parse_arguments(FUZZ "" "" "LINKS" ${ARGN})
  add_executable(${name}_fuzz ${name}_fuzz.cc)
  target_include_directories(${name}_fuzz PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name}_fuzz PRIVATE ullage_flags ${FUZZ_LINKS} -fsanitize=fuzzer)
endfunction()
