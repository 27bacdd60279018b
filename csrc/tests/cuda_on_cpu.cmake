# The CUDA part without CUDA: its .cu files compiled as C++ against cuda_on_cpu/, whose kernels run when they are launched.
file(GLOB emulator CONFIGURE_DEPENDS cuda_on_cpu/*.cpp)
list(FILTER emulator EXCLUDE REGEX fake_cublaslt)
set(cuda_sources cublaslt cuda_runner device device_attention device_corpus device_decoder device_matrix device_tower embedding
    norms pointwise pooled_vectors products tile_product)
list(TRANSFORM cuda_sources PREPEND ${PROJECT_SOURCE_DIR}/src/cuda/)
list(TRANSFORM cuda_sources APPEND .cu)
set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-fno-strict-aliasing;-Wno-unknown-pragmas")
# What is compiled otherwise where there is CUDA.
set(with_cuda c_device c_index model_to_cuda)
add_library(cuda_on_cpu OBJECT ${emulator} ${cuda_sources})
foreach(name IN LISTS with_cuda)
  target_sources(cuda_on_cpu PRIVATE ${PROJECT_SOURCE_DIR}/src/${name}.cpp)
endforeach()
target_compile_definitions(cuda_on_cpu PRIVATE HARKEN_BUILDING HARKEN_WITH_CUDA)
target_include_directories(cuda_on_cpu PUBLIC cuda_on_cpu ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
list(JOIN with_cuda "|" with_cuda)
set(cuda_on_cpu_objects $<TARGET_OBJECTS:cuda_on_cpu> $<TARGET_OBJECTS:harken_cuda_host>
    $<FILTER:$<TARGET_OBJECTS:harken_objects>,EXCLUDE,/src/\(${with_cuda}\)\\.cpp>)

# Every test_cuda_*_on_cpu.cpp is a program over these objects.
file(GLOB tests_on_cpu CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} test_cuda_*_on_cpu.cpp)
foreach(test IN LISTS tests_on_cpu)
  string(REGEX REPLACE "[.]cpp$" "" name ${test})
  add_executable(${name} ${test} ${cuda_on_cpu_objects})
  target_include_directories(${name} PRIVATE cuda_on_cpu ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  add_test(NAME ${name} COMMAND ${name})
  # A driver that is here knows nothing of this memory.
  set_tests_properties(${name} PROPERTIES ENVIRONMENT HARKEN_CUBINS=off)
endforeach()
include(fake_driver.cmake)

# A libcublasLt that is found as the real one is, and the same programs with it.
add_library(fake_cublaslt SHARED cuda_on_cpu/fake_cublaslt.cpp ${PROJECT_SOURCE_DIR}/src/half.cpp)
target_include_directories(fake_cublaslt PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
set_target_properties(fake_cublaslt PROPERTIES PREFIX "" OUTPUT_NAME libcublasLt SUFFIX .so.13 CXX_VISIBILITY_PRESET default
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fake_cublaslt)
foreach(name IN ITEMS test_cuda_kernels_on_cpu test_cuda_model_on_cpu)
  add_test(NAME ${name}_cublaslt COMMAND ${name} --cublaslt)
  set_tests_properties(${name}_cublaslt PROPERTIES
                       ENVIRONMENT "HARKEN_CUBINS=off;LD_LIBRARY_PATH=${CMAKE_CURRENT_BINARY_DIR}/fake_cublaslt")
endforeach()
