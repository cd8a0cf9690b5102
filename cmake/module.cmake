# an_module(NAME source…): one module of src/ as an object library an_NAME.
function(an_module name)
  add_library(an_${name} OBJECT ${ARGN})
  target_link_libraries(an_${name} PUBLIC an_options an_system)
  set_property(GLOBAL APPEND PROPERTY ANEMO_MODULES an_${name})
endfunction()

# Put the objects of all modules declared so far into a library target, and those of another build that a module takes.
function(an_link_modules target)
  get_property(modules GLOBAL PROPERTY ANEMO_MODULES)
  foreach(module ${modules})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${module}>)
  endforeach()
  get_property(objects GLOBAL PROPERTY ANEMO_OBJECTS)
  target_sources(${target} PRIVATE ${objects})
  target_link_libraries(${target} PUBLIC an_system)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:an_options>)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

# Per-file instruction-set flags: an_isa_flags(file "-mavx2 -mfma").
function(an_isa_flags file flags)
  set_source_files_properties(${file} PROPERTIES COMPILE_FLAGS "${flags}")
endfunction()
