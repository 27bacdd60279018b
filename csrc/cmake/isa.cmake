# A source that ends in _avx2 or _avx512 is compiled for that instruction set and called only where the CPU has it.
# Such a file includes no header with inline functions of the standard library: the linker keeps one copy of those for
# the whole program, and it must not be the one with instructions an older CPU lacks.
function(harken_isa_flags sources)
  set_source_files_properties(src/kernels_scalar.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=fast)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    return()
  endif()
  set(avx2 -mavx2 -mfma -mf16c -ffp-contract=fast)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # False alarms of g++ 12 on its own intrinsics.
    list(APPEND avx2 -Wno-maybe-uninitialized)
  endif()
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(vnni ${avx512} -mavx512vnni)
  foreach(source IN LISTS sources)
    foreach(isa avx2 avx512 vnni)
      if(source MATCHES "_${isa}[.]cpp$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${${isa}}")
      endif()
    endforeach()
  endforeach()
endfunction()
