# Installs BUILD into a fresh prefix, builds EXAMPLE against it, and runs the result.
# cmake -DBUILD=... -DEXAMPLE=... -DWORK=... -DVERSION=... -P consumer.cmake
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
# The prefix is moved: nothing installed may name the place that it was installed to.
file(RENAME ${WORK}/prefix ${WORK}/moved)
file(GLOB_RECURSE package ${WORK}/moved/*.cmake)
foreach(file ${package})
  file(STRINGS ${file} lines REGEX "${BUILD}|${WORK}")
  if(lines)
    message(FATAL_ERROR "${file} names the place where it was built: ${lines}")
  endif()
endforeach()
# What only the build needs is not asked of who uses the library.
set(consumer -G Ninja -S ${EXAMPLE} -DCMAKE_PREFIX_PATH=${WORK}/moved -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON
  -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON)
run(${CMAKE_COMMAND} ${consumer} -B ${WORK}/build)
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
message("${output}")
if(NOT output MATCHES "^ullage ${VERSION}: 1 of 4 values saturate in e4m3")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()

# A library that the rooms link and that is not there is named.
execute_process(COMMAND ${CMAKE_COMMAND} ${consumer} -B ${WORK}/without -DULLAGE_OPENBLAS_LIBRARY=
  RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE error)
if(status EQUAL 0 OR NOT error MATCHES "libraries that are not here: *openblas")
  message(FATAL_ERROR "a missing library was accepted: ${error}")
endif()

# A major version that is not ours is refused.
execute_process(COMMAND ${CMAKE_COMMAND} -G Ninja -S ${CMAKE_CURRENT_LIST_DIR}/refused -B ${WORK}/refused
  -DCMAKE_PREFIX_PATH=${WORK}/moved RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE error)
if(status EQUAL 0 OR NOT error MATCHES "considered but not accepted")
  message(FATAL_ERROR "version 99 was accepted: ${error}")
endif()
file(REMOVE_RECURSE ${WORK})
