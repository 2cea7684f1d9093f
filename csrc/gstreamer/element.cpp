// The element pvlrtag, and the plugin libgstpvlr.so that registers it.
#include <gst/base/gstbasetransform.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "session.h"

#define PACKAGE "pvlr"  // which GST_PLUGIN_DEFINE reads
// What libpvlr reads. RGBx and BGRx have no alpha, which it ignores anyway.
#define FORMATS "{ NV12, I420, BGR, RGB, BGRA, RGBA, BGRx, RGBx, GRAY8 }"

using pvlr::gstreamer::Session;
using pvlr::gstreamer::Settings;

namespace {

GST_DEBUG_CATEGORY_STATIC(category);
#define GST_CAT_DEFAULT category

constexpr char kTags[] = "pvlr-tags";  // the name of the messages, of the metadata and of their structures

enum Id : guint {
  kPlan = 1,
  kThreshold,
  kLabels,
  kDevice,
  kPrecision,
  kThreads,
  kPrecise,
  kTrust,
  kTiles,
  kBank,
  kEvery
};

struct State {
  std::mutex mutex;  // of the values of the properties
  GValue values[kEvery + 1]{};

  // Used by the streaming thread, or while there is none.
  std::unique_ptr<Session> session;
  std::string bank;  // that the session uses, or could not
  GstVideoInfo video{};
  guint64 count = 0;  // of the buffers since the start
  bool due = false;   // whether the current one is tagged

  ~State() {
    for (GValue& value : values) g_value_unset(&value);
  }
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

// Called for all of them when the element is created, with the defaults.
void set_property(GObject* object, guint id, const GValue* value, GParamSpec*) {
  State& state = state_of(object);
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (!G_IS_VALUE(&state.values[id])) g_value_init(&state.values[id], G_VALUE_TYPE(value));
  g_value_copy(value, &state.values[id]);
}

void get_property(GObject* object, guint id, GValue* value, GParamSpec*) {
  State& state = state_of(object);
  const std::lock_guard<std::mutex> lock(state.mutex);
  g_value_copy(&state.values[id], value);
}

Settings settings_of(State& state) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto text = [&state](Id id) {
    const gchar* const value = g_value_get_string(&state.values[id]);
    return std::string(value == nullptr ? "" : value);
  };
  return {text(kPlan),
          text(kBank),
          text(kLabels),
          text(kDevice),
          text(kPrecision),
          text(kTrust),
          text(kTiles),
          g_value_get_int(&state.values[kThreads]),
          g_value_get_float(&state.values[kThreshold]),
          g_value_get_boolean(&state.values[kPrecise]) != FALSE};
}

void finalize(GObject* object) {
  delete &state_of(object);
  G_OBJECT_CLASS(gst_pvlr_tag_parent_class)->finalize(object);
}

gboolean start(GstBaseTransform* base) {
  State& state = state_of(base);
  state.count = 0;
  state.video = {};
  try {
    const Settings settings = settings_of(state);
    state.bank = settings.bank;
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
  if (state.session->is_on_gpu()) pvlr::gstreamer::announce_context(GST_ELEMENT(base));
  const pvlr_info info = state.session->info();
  GST_INFO_OBJECT(base, "%s in %s on %d threads", info.name, info.precision, info.threads);
  return TRUE;
}

gboolean stop(GstBaseTransform* base) {
  state_of(base).session.reset();
  return TRUE;
}

gboolean query(GstBaseTransform* base, GstPadDirection direction, GstQuery* query) {
  if (pvlr::gstreamer::answer_context_query(GST_ELEMENT(base), query)) return TRUE;
  return GST_BASE_TRANSFORM_CLASS(gst_pvlr_tag_parent_class)->query(base, direction, query);
}

gboolean set_caps(GstBaseTransform* base, GstCaps* input, GstCaps*) {
  return gst_video_info_from_caps(&state_of(base).video, input);
}

// Metadata can only be added to a buffer that nobody else holds, for example behind a tee. Its copy shares the memory
// of the frame.
GstFlowReturn prepare_output_buffer(GstBaseTransform* base, GstBuffer* input, GstBuffer** output) {
  State& state = state_of(base);
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.due = state.count++ % g_value_get_uint(&state.values[kEvery]) == 0;
  }
  *output = state.due && !gst_buffer_is_writable(input) ? gst_buffer_copy(input) : input;
  return GST_FLOW_OK;
}

// A structure with the times of a buffer, as those of the element "level".
GstStructure* times_of(const GstBuffer* buffer, const GstSegment& segment) {
  const GstClockTime timestamp = GST_BUFFER_PTS(buffer);
  GstClockTime stream_time = GST_CLOCK_TIME_NONE;
  GstClockTime running_time = GST_CLOCK_TIME_NONE;
  if (segment.format == GST_FORMAT_TIME) {
    stream_time = gst_segment_to_stream_time(&segment, GST_FORMAT_TIME, timestamp);
    running_time = gst_segment_to_running_time(&segment, GST_FORMAT_TIME, timestamp);
  }
  return gst_structure_new(kTags, "timestamp", GST_TYPE_CLOCK_TIME, timestamp, "stream-time", GST_TYPE_CLOCK_TIME,
                           stream_time, "running-time", GST_TYPE_CLOCK_TIME, running_time, "duration",
                           GST_TYPE_CLOCK_TIME, GST_BUFFER_DURATION(buffer), nullptr);
}

// A bank that cannot be used is a warning: the stream goes on with the labels that it has.
void update_bank(GstBaseTransform* base) {
  State& state = state_of(base);
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    const gchar* const set = g_value_get_string(&state.values[kBank]);
    const gchar* const wanted = set == nullptr ? "" : set;
    if (state.bank == wanted) return;
    state.bank = wanted;
  }
  try {
    state.session->set_labels(state.bank);
  } catch (const std::exception& error) {
    GST_ELEMENT_WARNING(base, LIBRARY, SETTINGS, ("%s", error.what()), (nullptr));
  }
}

GstFlowReturn transform_ip(GstBaseTransform* base, GstBuffer* buffer) {
  State& state = state_of(base);
  if (!state.due) return GST_FLOW_OK;
  if (state.video.finfo == nullptr) {  // a source without caps, such as filesrc
    GST_ELEMENT_ERROR(base, CORE, NEGOTIATION, ("caps: expected video/x-raw, got none. Put a decoder before it."),
                      (nullptr));
    return GST_FLOW_NOT_NEGOTIATED;
  }
  update_bank(base);
  GstStructure* const found = gst_custom_meta_get_structure(gst_buffer_add_custom_meta(buffer, kTags));
  try {
    state.session->tag(state.video, buffer, found);
  } catch (const std::exception& error) {
    GST_ELEMENT_ERROR(base, STREAM, FAILED, ("%s", error.what()), (nullptr));
    return GST_FLOW_ERROR;
  }
  pvlr::gstreamer::add_analytics(buffer, found);
  GstStructure* const message = times_of(buffer, base->segment);
  for (const char* const field : {"model", "labels", "scores"}) {
    gst_structure_set_value(message, field, gst_structure_get_value(found, field));
  }
  gst_element_post_message(GST_ELEMENT(base), gst_message_new_element(GST_OBJECT(base), message));
  return GST_FLOW_OK;
}

void install_properties(GObjectClass* object) {
  const auto always = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_CONSTRUCT |
                                               GST_PARAM_MUTABLE_PLAYING);
  const auto flags = static_cast<GParamFlags>((always & ~GST_PARAM_MUTABLE_PLAYING) | GST_PARAM_MUTABLE_READY);
  const auto install = [object](Id id, GParamSpec* spec) { g_object_class_install_property(object, id, spec); };
  const auto text = [&](Id id, const char* name, const char* nick, const char* description) {
    install(id, g_param_spec_string(name, nick, description, "", id == kBank ? always : flags));
  };
  text(kPlan, "plan", "Plan", "Path of engine.plan or of its folder");
  text(kLabels, "labels", "Labels", "Report only these, separated by commas (empty = all)");
  text(kDevice, "device", "Device", "auto, cpu or tensorrt, for which the plan must be built (empty = auto)");
  text(kPrecision, "precision", "Precision", "auto, fp32, bf16 or int8 (empty = set by the plan)");
  text(kTrust, "trust", "Trust", "Folder of the keys that may sign the plan (empty = PVLR_TRUST)");
  text(kTiles, "tiles", "Tiles",
       "Also tag tiles, columns x rows such as 3x2, or auto, for small objects (empty = none)");
  text(kBank, "bank", "Bank", "Path of a label bank for an open plan (empty = the labels of the plan)");
  install(kThreads,
          g_param_spec_int("threads", "Threads", "Of the inference engine (0 = all cores)", 0, 1024, 0, flags));
  install(kPrecise, g_param_spec_boolean("precise", "Precise", "Use the thresholds with 90 % precision", FALSE, flags));
  install(kThreshold,
          g_param_spec_float("threshold", "Threshold", "Score at or above which a label is a tag (0 = set by the plan)",
                             0, 1, 0, flags));
  install(kEvery, g_param_spec_uint("every", "Every", "Tag one in this many buffers", 1, G_MAXUINT, 1, always));
}

#ifdef PVLR_CUDA_MEMORY
#define CAPS GST_VIDEO_CAPS_MAKE(FORMATS) "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES("memory:CUDAMemory", FORMATS)
#else
#define CAPS GST_VIDEO_CAPS_MAKE(FORMATS)
#endif
GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(CAPS));
GstStaticPadTemplate source_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(CAPS));

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
  base->query = query;
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
  // Without tags: it describes neither the memory nor the size of the frame, so elements that change these keep it.
  static const gchar* tags[] = {nullptr};
  gst_meta_register_custom(kTags, tags, nullptr, nullptr, nullptr);
  return gst_element_register(plugin, "pvlrtag", GST_RANK_NONE, gst_pvlr_tag_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, pvlr, "Multi-label image tagging", register_all, PVLR_VERSION,
                  "Apache 2.0", "pvlr_sdk", "https://pypi.org/project/pvlr-sdk")
