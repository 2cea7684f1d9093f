// The element pvlrtag, and the plugin libgstpvlr.so that registers it.
#include <gst/base/gstbasetransform.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "session.h"

#define PACKAGE "pvlr"  // which GST_PLUGIN_DEFINE reads

using pvlr::gstreamer::FoundTags;
using pvlr::gstreamer::MappedFrame;
using pvlr::gstreamer::Session;
using pvlr::gstreamer::Settings;

namespace {

GST_DEBUG_CATEGORY_STATIC(category);
#define GST_CAT_DEFAULT category

enum Property : guint { kPlan = 1, kThreshold, kLabels, kEvery };

struct State {
  std::mutex mutex;  // of the settings
  Settings settings;
  std::atomic<guint> every{1};

  // Used by the streaming thread, or while there is none.
  std::unique_ptr<Session> session;
  GstVideoInfo video{};
  guint64 count = 0;  // of the buffers since the start
  bool due = false;   // whether the current one is tagged
};

}  // namespace

struct GstPvlrTag {
  GstBaseTransform parent;
  State* state;
};

struct GstPvlrTagClass {
  GstBaseTransformClass parent;
};

G_DEFINE_TYPE_WITH_CODE(GstPvlrTag, gst_pvlr_tag, GST_TYPE_BASE_TRANSFORM,
                        GST_DEBUG_CATEGORY_INIT(category, "pvlrtag", 0, "Multi-label image tagging"))

namespace {

State& state_of(gpointer element) { return *static_cast<GstPvlrTag*>(element)->state; }

std::string text_of(const GValue* value) {
  const gchar* const text = g_value_get_string(value);
  return text == nullptr ? "" : text;
}

void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  State& state = state_of(object);
  const std::lock_guard<std::mutex> lock(state.mutex);
  switch (id) {
    case kPlan:
      state.settings.plan = text_of(value);
      break;
    case kThreshold:
      state.settings.threshold = g_value_get_float(value);
      break;
    case kLabels:
      state.settings.labels = text_of(value);
      break;
    case kEvery:
      state.every = g_value_get_uint(value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  }
}

void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  State& state = state_of(object);
  const std::lock_guard<std::mutex> lock(state.mutex);
  switch (id) {
    case kPlan:
      g_value_set_string(value, state.settings.plan.c_str());
      break;
    case kThreshold:
      g_value_set_float(value, state.settings.threshold);
      break;
    case kLabels:
      g_value_set_string(value, state.settings.labels.c_str());
      break;
    case kEvery:
      g_value_set_uint(value, state.every);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  }
}

void finalize(GObject* object) {
  delete &state_of(object);
  G_OBJECT_CLASS(gst_pvlr_tag_parent_class)->finalize(object);
}

gboolean start(GstBaseTransform* base) {
  State& state = state_of(base);
  Settings settings;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    settings = state.settings;
  }
  state.count = 0;
  state.video = {};
  try {
    state.session = std::make_unique<Session>(settings);
  } catch (const std::invalid_argument& error) {
    GST_ELEMENT_ERROR(base, LIBRARY, SETTINGS, ("%s", error.what()), (nullptr));
  } catch (const pvlr::Error& error) {
    if (error.code() == PVLR_ERROR_NOT_FOUND) {
      GST_ELEMENT_ERROR(base, RESOURCE, NOT_FOUND, ("%s", error.what()), (nullptr));
    } else {
      GST_ELEMENT_ERROR(base, LIBRARY, INIT, ("%s", error.what()), (nullptr));
    }
  }
  if (state.session == nullptr) return FALSE;
  const pvlr_info& info = state.session->info();
  GST_INFO_OBJECT(base, "%s in %s on %d threads", info.name, info.precision, info.threads);
  return TRUE;
}

gboolean stop(GstBaseTransform* base) {
  state_of(base).session.reset();
  return TRUE;
}

gboolean set_caps(GstBaseTransform* base, GstCaps* input, GstCaps*) {
  return gst_video_info_from_caps(&state_of(base).video, input);
}

// Metadata can only be added to a buffer that nobody else holds, for example behind a tee. Its copy shares the memory
// of the frame.
GstFlowReturn prepare_output_buffer(GstBaseTransform* base, GstBuffer* input, GstBuffer** output) {
  State& state = state_of(base);
  state.due = state.count++ % state.every == 0;
  *output = state.due && !gst_buffer_is_writable(input) ? gst_buffer_copy(input) : input;
  return GST_FLOW_OK;
}

GstFlowReturn transform_ip(GstBaseTransform* base, GstBuffer* buffer) {
  State& state = state_of(base);
  if (!state.due) return GST_FLOW_OK;
  if (state.video.finfo == nullptr) {  // a source without caps, such as filesrc
    GST_ELEMENT_ERROR(base, CORE, NEGOTIATION, ("caps: expected video/x-raw, got none. Put a decoder before it."),
                      (nullptr));
    return GST_FLOW_NOT_NEGOTIATED;
  }
  FoundTags found(state.session->info().name);
  try {
    const MappedFrame frame(state.video, buffer);
    state.session->tag(frame, &found);
  } catch (const std::exception& error) {
    GST_ELEMENT_ERROR(base, STREAM, FAILED, ("%s", error.what()), (nullptr));
    return GST_FLOW_ERROR;
  }
  found.attach(buffer);
  GstStructure* const message = pvlr::gstreamer::times_of(buffer, base->segment);
  found.write(message);
  gst_element_post_message(GST_ELEMENT(base), gst_message_new_element(GST_OBJECT(base), message));
  return GST_FLOW_OK;
}

void install_properties(GObjectClass* object) {
  const auto flags = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
  const auto at_start = static_cast<GParamFlags>(flags | GST_PARAM_MUTABLE_READY);
  const auto always = static_cast<GParamFlags>(flags | GST_PARAM_MUTABLE_PLAYING);
  g_object_class_install_property(
      object, kPlan, g_param_spec_string("plan", "Plan", "Path of engine.plan or of its folder", "", at_start));
  g_object_class_install_property(
      object, kThreshold,
      g_param_spec_float("threshold", "Threshold", "Score at or above which a label is a tag (0 = set by the plan)", 0,
                         1, 0, at_start));
  g_object_class_install_property(
      object, kLabels,
      g_param_spec_string("labels", "Labels", "Report only these, separated by commas (empty = all)", "", at_start));
  g_object_class_install_property(
      object, kEvery, g_param_spec_uint("every", "Every", "Tag one in this many buffers", 1, G_MAXUINT, 1, always));
}

GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(PVLR_GSTREAMER_FORMATS)));
GstStaticPadTemplate source_template = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(PVLR_GSTREAMER_FORMATS)));

}  // namespace

static void gst_pvlr_tag_class_init(GstPvlrTagClass* type) {
  GObjectClass* const object = G_OBJECT_CLASS(type);
  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = finalize;
  install_properties(object);

  GstElementClass* const element = GST_ELEMENT_CLASS(type);
  gst_element_class_set_static_metadata(element, "Image tagger", "Filter/Analyzer/Video",
                                        "Tags frames, and reports labels and scores in messages and metadata",
                                        "the pvlr_sdk contributors");
  gst_element_class_add_static_pad_template(element, &sink_template);
  gst_element_class_add_static_pad_template(element, &source_template);

  GstBaseTransformClass* const base = GST_BASE_TRANSFORM_CLASS(type);
  base->start = start;
  base->stop = stop;
  base->set_caps = set_caps;
  base->prepare_output_buffer = prepare_output_buffer;
  base->transform_ip = transform_ip;
}

static void gst_pvlr_tag_init(GstPvlrTag* self) {
  self->state = new State;
  // The frames are not written, and their caps, memory and allocation are those of the neighbours.
  gst_base_transform_set_passthrough(GST_BASE_TRANSFORM(self), TRUE);
}

static gboolean register_all(GstPlugin* plugin) {
  pvlr::gstreamer::register_metadata();
  return gst_element_register(plugin, "pvlrtag", GST_RANK_NONE, gst_pvlr_tag_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, pvlr, "Multi-label image tagging", register_all, PVLR_VERSION,
                  "Apache 2.0", "pvlr_sdk", "https://pypi.org/project/pvlr-sdk")
