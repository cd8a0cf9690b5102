# Flags that every source of ours is built with.
add_library(an_options INTERFACE)
target_include_directories(an_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(an_options INTERFACE _GNU_SOURCE ANEMO_VERSION="${PROJECT_VERSION}")
target_compile_options(an_options INTERFACE
  -Wall -Wextra -Wshadow -Wvla -Wundef $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
  -fno-math-errno
  # Cutting a label is often the intent; gcc cannot know.
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
  # __FILE__ says src/…, not where this machine keeps the tree.
  -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=
  # The same source must give the same result with every compiler: nothing is fused unless written so.
  -ffp-contract=off)
if(ANEMO_WERROR)
  target_compile_options(an_options INTERFACE -Werror)
endif()
if(ANEMO_SANITIZE)
  target_compile_options(an_options INTERFACE -fsanitize=${ANEMO_SANITIZE} -fno-omit-frame-pointer)
  if(ANEMO_SANITIZE MATCHES "undefined")
    target_compile_options(an_options INTERFACE -fno-sanitize-recover=all)
  endif()
  target_link_options(an_options INTERFACE -fsanitize=${ANEMO_SANITIZE})
endif()
if(ANEMO_FUZZ)
  target_compile_options(an_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(an_options INTERFACE -fsanitize=address,undefined)
endif()
