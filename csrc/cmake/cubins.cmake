# The plain C++ of the CUDA part, and the table of Triton kernels that it launches. Compiled where there is no CUDA too: its
# driver is found at run time, and its tests give it one of their own.
set(HARKEN_CUBINS AUTO CACHE STRING "carry harken's Triton kernels, compiled ahead of time: ON, OFF, or AUTO (with HARKEN_CUDA, where Python has Triton)")
set(HARKEN_CUBIN_ARCHS 80 90 100 CACHE STRING "compute capabilities that Triton's kernels are compiled for")
set(cubins ${HARKEN_CUBINS})
if(cubins STREQUAL AUTO)
  set(cubins ${HARKEN_CUDA})
endif()
if(cubins)
  find_package(Python COMPONENTS Interpreter)
  if(Python_FOUND)
    execute_process(COMMAND ${Python_EXECUTABLE} -c "from importlib.util import find_spec as f; exit(not (f('torch') and f('triton')))"
                    RESULT_VARIABLE no_triton ERROR_QUIET)
  endif()
  if(NOT Python_FOUND OR no_triton)
    if(HARKEN_CUBINS STREQUAL AUTO)
      message(STATUS "No Python with torch and Triton: the CUDA part has nvcc's kernels alone")
      set(cubins OFF)
    else()
      message(FATAL_ERROR "HARKEN_CUBINS=ON wants a Python with torch and Triton, got ${Python_EXECUTABLE}; set Python_EXECUTABLE")
    endif()
  endif()
endif()

set(cubin_sources cubins cubin_topk device_logmel device_pool driver)
list(TRANSFORM cubin_sources PREPEND src/cuda/)
list(TRANSFORM cubin_sources APPEND .cpp)
add_library(harken_cuda_host OBJECT ${cubin_sources})
target_include_directories(harken_cuda_host PRIVATE include src)
target_compile_definitions(harken_cuda_host PRIVATE HARKEN_BUILDING)
if(cubins)
  set(cubin_folder ${CMAKE_CURRENT_BINARY_DIR}/cubins)
  file(MAKE_DIRECTORY ${cubin_folder})
  file(GLOB kernel_modules CONFIGURE_DEPENDS ../kernels/*.py)
  list(TRANSFORM HARKEN_CUBIN_ARCHS PREPEND --arch= OUTPUT_VARIABLE cubin_archs)
  add_custom_command(
    OUTPUT ${cubin_folder}/cubins.inc ${cubin_folder}/cubins.json
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tools/embed_kernels.py ${cubin_folder}/cubins.inc
            --manifest ${cubin_folder}/cubins.json ${cubin_archs}
    DEPENDS tools/embed_kernels.py ${kernel_modules} COMMENT "Compiling Triton kernels" VERBATIM)
  target_sources(harken_cuda_host PRIVATE ${cubin_folder}/cubins.inc)
  target_include_directories(harken_cuda_host PRIVATE ${cubin_folder})
  target_compile_definitions(harken_cuda_host PRIVATE HARKEN_WITH_CUBINS)
endif()
