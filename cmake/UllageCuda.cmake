# nvcc for the CUDA component: the one that the caller named (CUDACXX or CMAKE_CUDA_COMPILER), else the one that
# tools/setup.sh installed from PyPI, else the one on the PATH or in /usr/local/cuda.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  file(GLOB ullage_nvcc ${PROJECT_SOURCE_DIR}/build/venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
  if(ullage_nvcc)
    list(GET ullage_nvcc 0 CMAKE_CUDA_COMPILER)
  endif()
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  # Machine code for Ampere and Ada (8.x), Hopper's own, and Blackwell, whose PTX later GPUs take.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 100)
endif()
if(ULLAGE_CCACHE AND ULLAGE_CCACHE_PROGRAM AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
# CMake 3.25 does not know that this nvcc takes C++20.
foreach(kind STANDARD EXTENSION)
  if(NOT CMAKE_CUDA20_${kind}_COMPILE_OPTION)
    set(CMAKE_CUDA20_${kind}_COMPILE_OPTION -std=c++20)
  endif()
endforeach()
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -DNDEBUG")
