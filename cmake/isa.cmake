# sluice_isa_sources(ROOM a.cc …): compiles each file once per x86 target, with that target's flags, into its own
# object library; the room's library takes all of them. SLUICE_ISA is the namespace of the copy: avx2 or avx512.
#
# A file compiled here may define nothing with external linkage outside its SLUICE_ISA namespace and include no header
# whose inline functions could be emitted as weak symbols (std containers, base/check.h): the linker would keep one copy
# for the whole program, perhaps one that this machine cannot run. tools/tidy.py looks for such symbols.
set(SLUICE_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt -mpopcnt -maes -mpclmul -mtune=znver3)
set(SLUICE_ISA_FLAGS_avx512 ${SLUICE_ISA_FLAGS_avx2} -mavx512f -mavx512cd -mavx512bw -mavx512dq -mavx512vl
    -mprefer-vector-width=512 -mtune=icelake-server)

# What only some machines with AVX-512 add, for the dot products of low precision: kernels/low_path.h asks for it.
set(SLUICE_ISA_FLAGS_vnni ${SLUICE_ISA_FLAGS_avx512} -mavx512vnni)
set(SLUICE_ISA_FLAGS_bf16 ${SLUICE_ISA_FLAGS_avx512} -mavx512bf16)
set(SLUICE_ISA_FLAGS_amx ${SLUICE_ISA_FLAGS_avx512} -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16)

function(sluice_isa_sources room)
  foreach(isa avx2 avx512)
    sluice_one_isa_sources(${room} ${isa} ${ARGN})
  endforeach()
endfunction()

# The same for one ISA of the above.
function(sluice_one_isa_sources room isa)
  set(target sluice_${room}_${isa})
  if(TARGET ${target})
    target_sources(${target} PRIVATE ${ARGN})
    return()
  endif()
  add_library(${target} OBJECT ${ARGN})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE sluice_warnings PkgConfig::HWY)
  target_compile_definitions(${target} PRIVATE SLUICE_ISA=${isa} HWY_COMPILE_ONLY_STATIC NDEBUG)
  target_compile_options(${target} PRIVATE ${SLUICE_ISA_FLAGS_${isa}} -fno-exceptions -fno-rtti)
  # The checks of the undefined-behaviour sanitizer would make the unrolled loops compile for many minutes; its address
  # sibling and the conformance test watch over them.
  if(SLUICE_SANITIZE MATCHES undefined)
    target_compile_options(${target} PRIVATE -fno-sanitize=undefined)
  endif()
  target_sources(sluice_${room} PRIVATE $<TARGET_OBJECTS:${target}>)
endfunction()
