# Included by the project `faiss` and by no other.

# Without this it is compiled for SSE2, and searches in 8-bit and 16-bit codes are ten times slower.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    add_compile_options(-march=x86-64-v3)
endif()

# The few functions of BLAS and LAPACK that Faiss calls are defined in src/blas.rs and src/lapack.rs: none is looked for.
# In the cache, since FindBLAS of CMake 3.25 unsets plain variables of these names.
set(BLAS_LIBRARIES blas CACHE STRING "")
set(LAPACK_LIBRARIES lapack CACHE STRING "")
