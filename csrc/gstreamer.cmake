# pvlrtag, a GStreamer element on libpvlr. Needs Debian's libgstreamer1.0-dev and libgstreamer-plugins-base1.0-dev.
find_package(PkgConfig REQUIRED)
# 1.20.3 is the first that accepts plugins with the licence Apache 2.0.
pkg_check_modules(GSTREAMER REQUIRED IMPORTED_TARGET gstreamer-1.0>=1.20.3 gstreamer-base-1.0 gstreamer-video-1.0)

file(GLOB pvlr_gstreamer_sources CONFIGURE_DEPENDS csrc/gstreamer/*.cpp)
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
target_link_options(gstpvlr PRIVATE -Wl,--no-undefined)
set_target_properties(gstpvlr PROPERTIES VISIBILITY_INLINES_HIDDEN ON INSTALL_RPATH "$ORIGIN/..")
install(TARGETS gstpvlr DESTINATION ${CMAKE_INSTALL_LIBDIR}/gstreamer-1.0)
