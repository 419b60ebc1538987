# What the emulated GPU needs: CUDA's headers and a C++ compiler. Without them EMU_MISSING says what is not there, and
# the tests of tests/emu and tests/cuda are one test each that reports itself as skipped.
include(CheckLanguage)
check_language(CXX)
find_path(CUDA_INCLUDE cuda_runtime_api.h HINTS ENV CUDA_PATH PATHS /usr/local/cuda/include /opt/cuda/include
  /usr/include PATH_SUFFIXES include)
find_program(NVCC nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
set(EMU_MISSING "")
if(NOT CUDA_INCLUDE)
  set(EMU_MISSING "the headers of the CUDA toolkit are not installed (cuda_runtime_api.h)")
elseif(NOT CMAKE_CXX_COMPILER)
  set(EMU_MISSING "there is no C++ compiler")
else()
  enable_language(CXX)
endif()

function(mox_skipped_test name why)
  mox_script_test(${name} sh -c "echo 'skipped: ${why}'; exit 77")
endfunction()
