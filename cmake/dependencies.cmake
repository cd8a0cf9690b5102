# The libraries that come from the system's packages, each with its reason (ARCHITECTURE.md lists them).
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson>=2.13)        # JSON
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)         # Unicode categories
pkg_check_modules(libcurl REQUIRED IMPORTED_TARGET libcurl)              # HTTP client
pkg_check_modules(libcrypto REQUIRED IMPORTED_TARGET libcrypto)          # SHA-256
add_library(an_system INTERFACE)
target_link_libraries(an_system INTERFACE PkgConfig::jansson PkgConfig::utf8proc PkgConfig::libcurl
  PkgConfig::libcrypto Threads::Threads m)
