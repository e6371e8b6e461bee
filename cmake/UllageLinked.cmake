# The libraries that the rooms link and hand on, as static libraries do, to whoever links them: the build reads this file,
# and so does the installed package on another machine. ULLAGE_MISSING names those that are not there.
set(ULLAGE_MISSING "")
find_package(Threads)
if(NOT Threads_FOUND)
  list(APPEND ULLAGE_MISSING threads)
endif()

# ullage_find_library(NAME FILE [hint...]): an imported target ullage_NAME for a library without a usable CMake file, and
# ULLAGE_<NAME> as the word that rooms link.
#   openblas, lapacke: none, or one that names a build folder.
function(ullage_find_library name file)
  string(TOUPPER ${name} upper)
  find_library(ULLAGE_${upper}_LIBRARY ${file} HINTS ${ARGN})
  mark_as_advanced(ULLAGE_${upper}_LIBRARY)
  if(NOT ULLAGE_${upper}_LIBRARY)
    set(ULLAGE_MISSING ${ULLAGE_MISSING} ${file} PARENT_SCOPE)
    return()
  endif()
  if(NOT TARGET ullage_${name})
    add_library(ullage_${name} UNKNOWN IMPORTED GLOBAL)
  endif()
  set_target_properties(ullage_${name} PROPERTIES IMPORTED_LOCATION ${ULLAGE_${upper}_LIBRARY})
  set(ULLAGE_${upper} ullage_${name} PARENT_SCOPE)
endfunction()
ullage_find_library(openblas openblas)
ullage_find_library(lapacke lapacke)
if(ULLAGE_CUDA)
  # CMake's FindCUDAToolkit wants cuBLAS, which the component does not use.
  ullage_find_library(cudart cudart_static ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES} ENV CUDA_PATH /usr/local/cuda/lib64)
endif()
