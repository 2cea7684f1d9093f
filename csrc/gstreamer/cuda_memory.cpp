#include <dlfcn.h>
#include <gst/cuda/gstcuda.h>

#include <algorithm>
#include <iterator>

#include "session.h"

namespace pvlr::gstreamer {
namespace {

GstCudaContext* wrap_primary_context() {
  if (!gst_cuda_load_library() || CuInit(0) != CUDA_SUCCESS) return nullptr;
  // GStreamer has loaded the driver, but does not have this function.
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  void* const found = driver == nullptr ? nullptr : dlsym(driver, "cuDevicePrimaryCtxRetain");
  CUdevice device = 0;
  CUcontext handle = nullptr;
  const auto retain = reinterpret_cast<decltype(&cuDevicePrimaryCtxRetain)>(found);
  if (retain == nullptr || CuDeviceGet(&device, 0) != CUDA_SUCCESS) return nullptr;
  if (retain(&handle, device) != CUDA_SUCCESS) return nullptr;
  GstCudaContext* const context = gst_cuda_context_new_wrapped(handle, device);
  if (context != nullptr) GST_OBJECT_FLAG_SET(context, GST_OBJECT_FLAG_MAY_BE_LEAKED);
  return context;
}

// Of GPU 0, in which libpvlr computes; null without one. Kept until the process ends, as by CUDA's runtime.
GstCudaContext* primary_context() {
  static GstCudaContext* const context = wrap_primary_context();
  return context;
}

}  // namespace

bool answer_context_query(GstElement* element, GstQuery* query) {
  const gchar* type = nullptr;
  if (GST_QUERY_TYPE(query) != GST_QUERY_CONTEXT || !gst_query_parse_context_type(query, &type)) return false;
  if (g_strcmp0(type, GST_CUDA_CONTEXT_TYPE) != 0 || primary_context() == nullptr) return false;
  return gst_cuda_handle_context_query(element, query, primary_context()) != FALSE;
}

void announce_context(GstElement* element) {
  if (primary_context() == nullptr) return;
  GstContext* const context = gst_context_new_cuda_context(primary_context());
  gst_element_post_message(element, gst_message_new_have_context(GST_OBJECT(element), context));
}

Place place_of(GstBuffer* buffer, bool plan_on_gpu, GstVideoInfo* video) {
  GstMemory* const memory = gst_buffer_n_memory(buffer) == 1 ? gst_buffer_peek_memory(buffer, 0) : nullptr;
  if (memory == nullptr || !gst_is_cuda_memory(memory)) return {};
  GstCudaMemory* const frame = GST_CUDA_MEMORY_CAST(memory);
  std::copy(std::begin(frame->info.offset), std::end(frame->info.offset), video->offset);
  std::copy(std::begin(frame->info.stride), std::end(frame->info.stride), video->stride);
  if (!plan_on_gpu || primary_context() == nullptr) return {};
  if (gst_cuda_context_get_handle(frame->context) != gst_cuda_context_get_handle(primary_context())) return {};
  GstCudaStream* const stream = gst_cuda_memory_get_stream(frame);
  return {PVLR_MEMORY_CUDA, stream == nullptr ? nullptr : gst_cuda_stream_get_handle(stream),
          GST_MAP_READ | GST_MAP_CUDA};
}

}  // namespace pvlr::gstreamer
