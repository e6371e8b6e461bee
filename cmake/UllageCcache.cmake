# Compile through ccache where it is installed, unless the caller chose a launcher. Paths below the source
# folder are hashed as relative ones, so that two clones share what either compiled.
find_program(ULLAGE_CCACHE_PROGRAM ccache)
if(ULLAGE_CCACHE AND ULLAGE_CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1
    CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_SLOPPINESS=time_macros,include_file_mtime
    ${ULLAGE_CCACHE_PROGRAM})
endif()
