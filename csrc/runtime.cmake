# libpvlr, the compiled runtime with a C interface. Needs OpenVINO, whose package from PyPI has headers, libraries and
# CMake files, and Debian's nlohmann-json3-dev, libssl-dev and libpng-dev. TensorRT is optional.
if(NOT OpenVINO_DIR)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" -c "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])"
    OUTPUT_VARIABLE pvlr_openvino OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_package(OpenVINO REQUIRED COMPONENTS Runtime HINTS "${pvlr_openvino}/cmake")
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PNG REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(STRINGS pvlr_sdk/_util/version.py PVLR_VERSION REGEX "^__version__ = ")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" PVLR_VERSION "${PVLR_VERSION}")

file(GLOB_RECURSE pvlr_runtime_sources CONFIGURE_DEPENDS csrc/runtime/*.cpp)
include(csrc/tensorrt_runner.cmake)
add_library(pvlr SHARED ${pvlr_runtime_sources})
# One compilation: the headers of OpenVINO and nlohmann/json cost more than the sources.
set_target_properties(pvlr PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
target_include_directories(pvlr PRIVATE csrc
  PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/csrc/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(pvlr PRIVATE
  $<BUILD_INTERFACE:pvlr_host> openvino::runtime OpenSSL::Crypto PNG::PNG nlohmann_json::nlohmann_json)
if("tensorrt" IN_LIST pvlr_backends)
  target_include_directories(pvlr SYSTEM PRIVATE "${PVLR_TENSORRT_INCLUDE}")
  target_link_libraries(pvlr PRIVATE $<BUILD_INTERFACE:pvlr_cuda> ${CMAKE_DL_LIBS})
endif()
target_compile_definitions(pvlr PRIVATE PVLR_VERSION="${PVLR_VERSION}")
# Exports only what pvlr.h declares: templates of OpenVINO and the standard library have symbols of their own.
set(pvlr_exports "${CMAKE_CURRENT_SOURCE_DIR}/csrc/pvlr.map")
target_link_options(pvlr PRIVATE -Wl,--no-undefined "-Wl,--version-script=${pvlr_exports}")
set_target_properties(pvlr PROPERTIES LINK_DEPENDS "${pvlr_exports}")
if(PVLR_WHEEL)  # in pvlr_sdk/libpvlr/lib; a wheel cannot have links, so the name has no version
  set_target_properties(pvlr PROPERTIES INSTALL_RPATH "$ORIGIN/../../../openvino/libs")
else()  # programs that were linked with an earlier version of the interface keep working
  set_target_properties(pvlr PROPERTIES VERSION "${PVLR_VERSION}" SOVERSION 1 INSTALL_RPATH_USE_LINK_PATH ON)
endif()
if(PVLR_STANDALONE)  # what reads an ONNX network and runs it on a CPU
  set_target_properties(pvlr PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH OFF)
  get_target_property(pvlr_openvino openvino::runtime LOCATION)
  get_filename_component(pvlr_openvino "${pvlr_openvino}" DIRECTORY)
  foreach(part libopenvino.so libopenvino_onnx_frontend.so libopenvino_intel_cpu_plugin.so libtbb libhwloc.so)
    file(GLOB pvlr_libraries "${pvlr_openvino}/${part}*")
    install(FILES ${pvlr_libraries} DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endforeach()
endif()

install(TARGETS pvlr EXPORT pvlr-targets)
if(TARGET pvlr_plugins)  # libpvlr looks for it beside itself
  install(TARGETS pvlr_plugins LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(FILES csrc/include/pvlr/pvlr.h csrc/include/pvlr/pvlr.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pvlr)
install(EXPORT pvlr-targets NAMESPACE pvlr:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pvlr FILE pvlr-config.cmake)
write_basic_package_version_file(pvlr-config-version.cmake VERSION "${PVLR_VERSION}" COMPATIBILITY SameMinorVersion)
list(JOIN pvlr_backends " " pvlr_backends)
file(RELATIVE_PATH PVLR_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
configure_file(csrc/pvlr.pc.in pvlr.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/pvlr-config-version.cmake" DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pvlr)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/pvlr.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
