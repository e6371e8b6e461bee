# `cmake --install`: the command, the rooms' libraries and headers, and the package that find_package(ullage) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(ullage_package ${CMAKE_INSTALL_LIBDIR}/cmake/ullage)
get_property(rooms GLOBAL PROPERTY ULLAGE_ROOMS)
list(TRANSFORM rooms PREPEND "ullage_" OUTPUT_VARIABLE libraries)
install(TARGETS ${libraries} EXPORT ullage ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET ullage)
  install(TARGETS ullage RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ullage DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT ullage NAMESPACE ullage:: FILE ullageTargets.cmake DESTINATION ${ullage_package})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/ullageConfig.cmake.in ${CMAKE_BINARY_DIR}/ullageConfig.cmake
  INSTALL_DESTINATION ${ullage_package} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what a caller compiled against.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ullageConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ullageConfig.cmake ${CMAKE_BINARY_DIR}/ullageConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/UllageLinked.cmake DESTINATION ${ullage_package})
