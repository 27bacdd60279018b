# A driver without a GPU, and a library whose CUDA part launches Triton's kernels through it: Python's tests run them
# (tests/csrc/test_cuda_kernels.py).
add_library(fake_driver SHARED fake_driver/libcuda.cpp)
set_target_properties(fake_driver PROPERTIES OUTPUT_NAME cuda SUFFIX .so.1 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/driver
                      NO_SONAME ON LINK_OPTIONS -Wl,-soname,libcuda.so.1)
add_library(harken_on_fake_driver SHARED fake_driver/on_device.cpp ${cuda_on_cpu_objects})
target_include_directories(harken_on_fake_driver PRIVATE cuda_on_cpu ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(harken_on_fake_driver PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
