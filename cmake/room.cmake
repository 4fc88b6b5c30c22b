# sluice_room(NAME SOURCES a.cc … DEPS room … LIBRARIES target … TESTS a_test.cc …)
#
# A room is a static library `sluice_NAME` and, with SLUICE_TESTS, one GoogleTest binary `NAME_test` of the unit tests
# that sit beside its code. DEPS are other rooms; LIBRARIES are third-party targets.
function(sluice_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS;LIBRARIES;TESTS;TEST_DEPS" ${ARGN})
  add_library(sluice_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(sluice_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(sluice_${name} PRIVATE sluice_warnings PUBLIC Threads::Threads ${ROOM_LIBRARIES})
  foreach(dep ${ROOM_DEPS})
    target_link_libraries(sluice_${name} PUBLIC sluice_${dep})
  endforeach()
  if(SLUICE_TESTS AND ROOM_TESTS)
    sluice_test(${name}_test SOURCES ${ROOM_TESTS} DEPS ${name} ${ROOM_TEST_DEPS})
  endif()
endfunction()

# sluice_test(NAME SOURCES … DEPS room … LIBRARIES …): a GoogleTest binary registered as one CTest test.
function(sluice_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;DEPS;LIBRARIES" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE sluice_warnings GTest::gtest GTest::gmock GTest::gtest_main ${TEST_LIBRARIES})
  foreach(dep ${TEST_DEPS})
    target_link_libraries(${name} PRIVATE sluice_${dep})
  endforeach()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()

# sluice_fuzzer(NAME SOURCES … DEPS room …): a libFuzzer binary in tests/fuzz of the build folder (preset fuzz, clang);
# in other builds a test that runs it on its seeds. NAME ends in _fuzz. Seeds stand in tests/fuzz/corpus/NAME.
function(sluice_fuzzer name)
  cmake_parse_arguments(FUZZ "" "" "SOURCES;DEPS;LIBRARIES" ${ARGN})
  add_executable(${name} ${FUZZ_SOURCES})
  if(SLUICE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.cc)
    add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  endif()
  target_link_libraries(${name} PRIVATE sluice_warnings ${FUZZ_LIBRARIES})
  foreach(dep ${FUZZ_DEPS})
    target_link_libraries(${name} PRIVATE sluice_${dep})
  endforeach()
endfunction()
