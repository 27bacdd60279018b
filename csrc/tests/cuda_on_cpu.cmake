# The CUDA part without CUDA: its .cu files compiled as C++ against cuda_on_cpu/, whose kernels run when they are launched.
file(GLOB emulator CONFIGURE_DEPENDS cuda_on_cpu/*.cpp)
set(cuda_sources device device_corpus)
list(TRANSFORM cuda_sources PREPEND ${PROJECT_SOURCE_DIR}/src/cuda/)
list(TRANSFORM cuda_sources APPEND .cu)
set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-fno-strict-aliasing;-Wno-unknown-pragmas")
# What is compiled otherwise where there is CUDA.
set(with_cuda c_device c_index)
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
