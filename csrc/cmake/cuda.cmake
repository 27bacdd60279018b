# The CUDA part: cubins for sm_80, sm_90 and sm_100, PTX for what comes later, a static runtime that finds the driver itself.
# nvcc must be there, a GPU or a driver need not: neither is linked. nvcc is called directly, because CMake's CUDA language wants
# to know each of its versions. A kernel that spills registers is an error.
find_package(CUDAToolkit 12.4 REQUIRED)
set(nvcc_flags -std=c++20 -O3 -Xptxas=-warn-spills,-Werror -Xfatbin=-compress-all -Xcompiler=-fPIC,-fvisibility=hidden
    -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
    -gencode=arch=compute_100,code=[sm_100,compute_100]
    -I${CMAKE_CURRENT_SOURCE_DIR}/include -I${CMAKE_CURRENT_SOURCE_DIR}/src)
# Drivers that run CUDA 13 unpack it; older toolkits' default is read by older drivers.
if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 13)
  list(APPEND nvcc_flags -Xfatbin=-compress-mode=size)
endif()
file(GLOB cuda_sources CONFIGURE_DEPENDS src/cuda/*.cu)
foreach(source IN LISTS cuda_sources)
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda_${name}.o)
  add_custom_command(OUTPUT ${object} COMMAND ${CUDAToolkit_NVCC_EXECUTABLE} ${nvcc_flags} -MD -MF ${object}.d -c ${source} -o ${object}
                     DEPENDS ${source} DEPFILE ${object}.d COMMENT "Building CUDA object ${name}" VERBATIM)
  list(APPEND HARKEN_CUDA_OBJECTS ${object})
endforeach()
set_source_files_properties(${HARKEN_CUDA_OBJECTS} PROPERTIES GENERATED ON EXTERNAL_OBJECT ON)
list(APPEND HARKEN_CUDA_OBJECTS $<TARGET_OBJECTS:harken_cuda_host>)
target_compile_definitions(harken_objects PRIVATE HARKEN_WITH_CUDA)
# For the tests and the extension, which take the objects from another directory.
add_library(harken_cuda STATIC ${HARKEN_CUDA_OBJECTS})
set_target_properties(harken_cuda PROPERTIES LINKER_LANGUAGE CXX)
set(HARKEN_CUDA_RUNTIME CUDA::cudart_static)
set(HARKEN_CUDA_LIBRARIES harken_cuda ${HARKEN_CUDA_RUNTIME})
