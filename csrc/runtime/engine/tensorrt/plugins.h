// The library of the TensorRT plugins, which a plan with fused attention needs. The counterpart of
// pvlr_sdk/backends/tensorrt/plugins.py.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace pvlr::runtime::tensorrt {

// The version of libpvlr_plugins.so beside libpvlr.so; empty if there is none, or if it does not load.
std::string plugin_version();

// Registers the plugins of that library with TensorRT, unless they are registered. Throws Error (PVLR_ERROR_RUNTIME).
void register_plugins(nvinfer1::IPluginRegistry& registry);

}  // namespace pvlr::runtime::tensorrt
