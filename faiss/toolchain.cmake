# How Faiss is compiled. `.cargo/config.toml` hands this file to every CMake that cargo starts, for the crate that builds
# Faiss leaves no other way in; what it sets is read by the project of that name alone.
set(CMAKE_PROJECT_faiss_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/project.cmake")
