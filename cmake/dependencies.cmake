# The libraries that come from the system's packages, each with its reason (ARCHITECTURE.md lists them). What is
# listed here is also what the installed package files ask for.
find_package(Threads REQUIRED)
add_library(an_system INTERFACE)
target_link_libraries(an_system INTERFACE Threads::Threads m)
if(ANEMO_KERNELS_ONLY)
  return()
endif()
find_package(PkgConfig REQUIRED)
set(AN_SYSTEM_LIBRARIES "") # lines of anemo-config.cmake
set(AN_SYSTEM_PC "")        # Requires.private of anemo.pc

# an_system_library(NAME SPEC): SPEC as pkg-config writes it, "jansson>=2.13".
macro(an_system_library name spec)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET "${spec}")
  target_link_libraries(an_system INTERFACE PkgConfig::${name})
  string(APPEND AN_SYSTEM_LIBRARIES "pkg_check_modules(${name} REQUIRED IMPORTED_TARGET \"${spec}\")\n")
  string(REPLACE ">=" " >= " an_spec "${spec}")
  string(APPEND AN_SYSTEM_PC "${an_spec} ")
endmacro()

an_system_library(jansson "jansson>=2.13") # JSON
an_system_library(utf8proc libutf8proc)    # Unicode categories
an_system_library(libcurl libcurl)         # HTTP client
an_system_library(libcrypto libcrypto)     # SHA-256
an_system_library(sqlite3 "sqlite3>=3.37")  # the results database
an_system_library(libpcre2 libpcre2-8)      # patterns that a user gives
