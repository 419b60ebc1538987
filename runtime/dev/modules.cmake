# The device modules: the same sources for a GPU (moxie-dev-cuda.so, by nvcc) and for the emulator under tests/emu
# (moxie-dev-emu.so, as C++). Both lie beside the program. Without CUDA's headers neither is there, EMU_MISSING says why,
# and the tests that need the emulator report themselves as skipped; everything else builds.
include(CheckLanguage)
option(MOXIE_EMU "the emulated GPU in a minimal build too (needs a C++ compiler)" OFF)
set(EMU_MISSING "")
find_program(NVCC nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
set(toolkit "") # the rest lies beside the compiler, wherever that is
if(NVCC)
  get_filename_component(toolkit ${NVCC} REALPATH)
  get_filename_component(toolkit ${toolkit}/../.. ABSOLUTE)
endif()
find_path(CUDA_INCLUDE cuda_runtime_api.h HINTS ENV CUDA_PATH ${toolkit} PATHS /usr/local/cuda/include /opt/cuda/include
  /usr/include PATH_SUFFIXES include targets/x86_64-linux/include)
if(MOXIE_MINIMAL AND NOT MOXIE_EMU)
  set(EMU_MISSING "a minimal build has no C++")
else()
  check_language(CXX)
  if(NOT CUDA_INCLUDE)
    set(EMU_MISSING "the headers of the CUDA toolkit are not installed (cuda_runtime_api.h)")
  elseif(NOT CMAKE_CXX_COMPILER)
    set(EMU_MISSING "there is no C++ compiler")
  else()
    enable_language(CXX)
  endif()
endif()

set(cuda_sources attention.cu between.cu delta.cu elementwise.cu embed.cu experts.cu flags.cu kv.cu layer_norm.cu mat_mma.cu
  mat_mul.cu mat_rows.cu norm.cu quantize.cu rope.cu router.cu router_rule.cu)
list(TRANSFORM cuda_sources PREPEND ${PROJECT_SOURCE_DIR}/kernels/cuda/)
set(module_sources cuda_dev.c cuda_module.c cuda_ops.c)
list(TRANSFORM module_sources PREPEND ${PROJECT_SOURCE_DIR}/runtime/dev/)

# device_module(NAME LIBRARY...): moxie-dev-NAME.so of these, beside the program. It offers one symbol.
function(device_module name)
  add_library(moxie-dev-${name} MODULE ${PROJECT_SOURCE_DIR}/runtime/dev/export.c)
  target_link_libraries(moxie-dev-${name} PRIVATE moxie-flags ${ARGN} moxie-kernels moxie-core Threads::Threads m)
  target_link_options(moxie-dev-${name} PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
  target_include_directories(moxie-dev-${name} PRIVATE ${PROJECT_SOURCE_DIR})
  set_target_properties(moxie-dev-${name} PROPERTIES PREFIX "" LINKER_LANGUAGE CXX
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/runtime/cli)
  if(NOT MOXIE_TESTS)
    set_target_properties(moxie-dev-${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
  endif()
endfunction()

# device_sources(NAME BACKEND): the C files of a module as a library.
function(device_sources name backend)
  add_library(${name} STATIC EXCLUDE_FROM_ALL ${module_sources} ${PROJECT_SOURCE_DIR}/runtime/dev/${backend})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
  target_include_directories(${name} SYSTEM PUBLIC ${CUDA_INCLUDE})
  target_link_libraries(${name} PRIVATE moxie-flags)
endfunction()

if(NOT EMU_MISSING)
  add_subdirectory(tests/emu/library)
  device_sources(dev-emu backend_emu.c)
  target_link_libraries(dev-emu PUBLIC cuda-kernels-emu emu moxie-kernels moxie-core)
  device_module(emu dev-emu)
endif()

# For a GPU: only when asked for (cmake --build build --target moxie-dev-cuda), since nvcc takes minutes for all
# architectures. The flags are those of docs/numerics.md: nothing fused, nothing flushed, divisions and roots rounded.
set(MOXIE_CUDA_ARCHS 75 80 86 89 90 120 CACHE STRING "compute capabilities that moxie-dev-cuda.so is compiled for")
find_library(CUDART cudart_static HINTS ENV CUDA_PATH ${toolkit} PATHS /usr/local/cuda /opt/cuda
  PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib)
if(NVCC AND CUDART AND CUDA_INCLUDE)
  check_language(CXX) # nvcc calls it
endif()
if(NVCC AND CUDART AND CUDA_INCLUDE AND CMAKE_CXX_COMPILER)
  enable_language(CXX)
  foreach(arch IN LISTS MOXIE_CUDA_ARCHS)
    list(APPEND gencode -gencode arch=compute_${arch},code=sm_${arch})
  endforeach()
  foreach(source IN LISTS cuda_sources)
    get_filename_component(object ${source} NAME)
    set(object ${PROJECT_BINARY_DIR}/cuda/${object}.o)
    add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d
      COMMAND ${NVCC} -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true --Werror all-warnings
        -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden -D_GNU_SOURCE -D_Alignas=alignas
        -D_Static_assert=static_assert -I${PROJECT_SOURCE_DIR} ${gencode} -MD -MF ${object}.d -c ${source} -o ${object}
      COMMENT "nvcc ${object}")
    list(APPEND cuda_objects ${object})
  endforeach()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cuda)
  device_sources(dev-cuda backend_cuda.c)
  set_source_files_properties(${cuda_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(cuda-kernels STATIC EXCLUDE_FROM_ALL ${cuda_objects})
  set_target_properties(cuda-kernels PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(cuda-kernels PUBLIC moxie-kernels moxie-core)
  target_link_libraries(dev-cuda PUBLIC cuda-kernels ${CUDART} ${CMAKE_DL_LIBS} rt)
  device_module(cuda dev-cuda)
  set_target_properties(moxie-dev-cuda PROPERTIES EXCLUDE_FROM_ALL TRUE)
endif()
