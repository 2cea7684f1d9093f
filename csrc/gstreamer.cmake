# pvlrtag, a GStreamer element on libpvlr. Needs Debian's libgstreamer1.0-dev and libgstreamer-plugins-base1.0-dev.
find_package(PkgConfig REQUIRED)
# 1.20.3 is the first that accepts plugins with the licence Apache 2.0.
pkg_check_modules(GSTREAMER REQUIRED IMPORTED_TARGET gstreamer-1.0>=1.20.3 gstreamer-base-1.0 gstreamer-video-1.0)

file(GLOB pvlr_gstreamer_sources CONFIGURE_DEPENDS csrc/gstreamer/*.cpp)
list(FILTER pvlr_gstreamer_sources EXCLUDE REGEX "/cuda_memory.cpp$")
# GStreamer derives the name of the exported function from that of the file, libgstpvlr.so.
add_library(gstpvlr MODULE ${pvlr_gstreamer_sources})
target_link_libraries(gstpvlr PRIVATE pvlr PkgConfig::GSTREAMER)
target_compile_definitions(gstpvlr PRIVATE PVLR_VERSION="${PVLR_VERSION}")
# The metadata of GStreamer 1.24 and later (Debian's libgstreamer-plugins-bad1.0-dev), if it is installed.
pkg_check_modules(GSTREAMER_ANALYTICS IMPORTED_TARGET gstreamer-analytics-1.0)
if(GSTREAMER_ANALYTICS_FOUND)
  target_link_libraries(gstpvlr PRIVATE PkgConfig::GSTREAMER_ANALYTICS)
  target_compile_definitions(gstpvlr PRIVATE PVLR_ANALYTICS)
endif()
# Frames in GPU memory: of the same package, whose headers include CUDA's.
if(pvlr_backends MATCHES "tensorrt")
  pkg_check_modules(GSTREAMER_CUDA IMPORTED_TARGET gstreamer-cuda-1.0>=1.24)
endif()
if(GSTREAMER_CUDA_FOUND)
  target_sources(gstpvlr PRIVATE csrc/gstreamer/cuda_memory.cpp)
  target_include_directories(gstpvlr SYSTEM PRIVATE $<TARGET_PROPERTY:pvlr_cuda,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(gstpvlr PRIVATE PkgConfig::GSTREAMER_CUDA ${CMAKE_DL_LIBS})
  target_compile_definitions(gstpvlr PRIVATE PVLR_CUDA_MEMORY GST_USE_UNSTABLE_API)
endif()
target_link_options(gstpvlr PRIVATE -Wl,--no-undefined -Wl,--as-needed)
set_target_properties(gstpvlr PROPERTIES VISIBILITY_INLINES_HIDDEN ON INSTALL_RPATH "$ORIGIN/..")
install(TARGETS gstpvlr DESTINATION ${CMAKE_INSTALL_LIBDIR}/gstreamer-1.0)
