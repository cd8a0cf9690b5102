# What `cmake --install` puts where: the program, the drivers that it starts, libanemo (static and shared) with its
# headers, and package files for pkg-config and CMake.
include(CMakePackageConfigHelpers)

install(TARGETS anemo_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# The drivers are programs of their own that anemo looks for in ../libexec/anemo from where it stands. The path to
# an engine's library was fixed when the driver was linked, and must survive the installation.
foreach(driver anemo-driver-llama anemo-driver-mlx)
  if(TARGET ${driver})
    set_target_properties(${driver} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS ${driver} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/anemo)
  endif()
endforeach()
if(EXISTS "${CMAKE_SOURCE_DIR}/drivers/python")
  install(DIRECTORY drivers/python/ DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/anemo FILES_MATCHING PATTERN "*.py")
endif()

# The shared library exports what the public headers declare and nothing else.
add_library(anemo_shared SHARED)
an_link_modules(anemo_shared)
set_target_properties(anemo_shared PROPERTIES OUTPUT_NAME anemo EXPORT_NAME anemo_shared
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})

if(NOT ANEMO_SANITIZE AND NOT ANEMO_FUZZ AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(anemo_shared PRIVATE -Wl,--no-undefined) # a program that links it must not find this out
endif()

install(TARGETS anemo anemo_shared an_system EXPORT anemo-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/anemo DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(an_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/anemo)
install(EXPORT anemo-targets NAMESPACE anemo:: DESTINATION ${an_package_dir})
configure_package_config_file(cmake/anemo-config.cmake.in anemo-config.cmake INSTALL_DESTINATION ${an_package_dir})
write_basic_package_version_file(anemo-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/anemo-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/anemo-config-version.cmake
  DESTINATION ${an_package_dir})

# The prefix is found from where the file lies, so that an installed tree can be moved.
set(an_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH AN_PC_PREFIX /${an_pc_dir} /)
configure_file(cmake/anemo.pc.in anemo.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/anemo.pc DESTINATION ${an_pc_dir})
