include(GoogleTest)

# Headers (JSON, CLI11, GoogleTest, protobuf) are most of what the compiler reads: several files of a target as one
# translation unit take half the time. Off in the dev preset, where one file is built after an edit; there each file also
# shows that it includes what it needs. Names in anonymous namespaces are unique in a target (tests/unit/tree).
option(ONECOPY_UNITY "Compile several files of a target as one" ON)
function(onecopy_unity target)
  if(ONECOPY_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
  endif()
endfunction()

# Includes are written from the top of the tree, or of the build where they are generated. Those who use an installed onecopy
# see runtime/api alone.
function(onecopy_includes target)
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR};${PROJECT_BINARY_DIR}>")
endfunction()

# onecopy_library(NAME DEPS...): every .cc of this folder (not of its sub-folders) as one static library onecopy_NAME.
function(onecopy_library name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  add_library(onecopy_${name} STATIC ${sources})
  onecopy_includes(onecopy_${name})
  target_link_libraries(onecopy_${name} PUBLIC ${ARGN})
  onecopy_unity(onecopy_${name})
endfunction()

# onecopy_test(AREA LABEL [SHARDS N] DEPS...): every *_test.cc of this folder as one GoogleTest program AREA, a CTest test per case;
# with SHARDS, so many for all of them, with a sanitizer one.
function(onecopy_test area label)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "SHARDS" "")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  add_executable(${area} ${sources})
  target_include_directories(${area} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_compile_definitions(${area} PRIVATE
    ONECOPY_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" ONECOPY_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    ONECOPY_TEST_TINY_MOE="${PROJECT_BINARY_DIR}/tests/data/tiny-moe"
    ONECOPY_TEST_TOKENIZERS="${PROJECT_BINARY_DIR}/tests/data/tokenizers")
  target_link_libraries(${area} PRIVATE ${arg_UNPARSED_ARGUMENTS} GTest::gmock GTest::gtest_main)
  onecopy_unity(${area})
  target_compile_options(${area} PRIVATE $<$<CONFIG:Release>:-O1>)  # compiled more often than run
  if(label STREQUAL unit)
    add_dependencies(unit_tests ${area})
  endif()
  if(ONECOPY_SANITIZE OR arg_SHARDS)
    # Starting a sanitised program, or one of hundreds of cases, costs more than most cases: many cases in one process.
    if(ONECOPY_SANITIZE)
      set(arg_SHARDS 1)
    endif()
    math(EXPR last "${arg_SHARDS} - 1")
    foreach(number RANGE ${last})
      set(name ${area})
      if(arg_SHARDS GREATER 1)
        set(name ${area}.${number})
      endif()
      add_test(NAME ${label}.${name} COMMAND ${area} --gtest_brief=1 --gtest_output=xml:${PROJECT_BINARY_DIR}/cases/${name}.xml)
      set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT 1200 PROCESSORS 2
                           ENVIRONMENT "GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${number}")
    endforeach()
    return()
  endif()
  # Those of the command line start jobs and look at what they leave behind in /dev/shm.
  set(serial OFF)
  if(label STREQUAL cli)
    set(serial ON)
  endif()
  # PROCESSORS: tests/run deals out six, so that three of these run at once, and others that wait more than they compute
  # beside them. Seconds long on a free machine; the limit is for a shared one.
  gtest_discover_tests(${area} TEST_PREFIX "${label}." DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${label} TIMEOUT 300 PROCESSORS 2 RUN_SERIAL ${serial})
endfunction()
