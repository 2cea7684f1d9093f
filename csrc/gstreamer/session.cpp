#include "session.h"

#ifdef PVLR_ANALYTICS
#include <gst/analytics/analytics.h>
#endif

#include <algorithm>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace pvlr::gstreamer {
namespace {

Tagger opened(const Settings& settings) {
  if (settings.plan.empty()) {
    throw std::invalid_argument("plan: expected the path of a plan, got none. For example plan=engine.plan.");
  }
  auto options = make<pvlr_options>();
  const auto named = [](const std::string& value) { return value.empty() ? nullptr : value.c_str(); };
  options.device = named(settings.device);
  options.precision = named(settings.precision);
  options.trust = named(settings.trust);
  options.threads = settings.threads;
  options.threshold = settings.threshold;
  options.operating_point = settings.precise ? PVLR_OPERATING_POINT_PRECISE : PVLR_OPERATING_POINT_F1;
  set_tiles(settings.tiles, &options);
  return Tagger(settings.plan, options);
}

std::int32_t format_of(GstVideoFormat format) {
  constexpr std::pair<GstVideoFormat, std::int32_t> kFormats[] = {
      {GST_VIDEO_FORMAT_NV12, PVLR_FORMAT_NV12}, {GST_VIDEO_FORMAT_I420, PVLR_FORMAT_I420},
      {GST_VIDEO_FORMAT_BGR, PVLR_FORMAT_BGR},   {GST_VIDEO_FORMAT_RGB, PVLR_FORMAT_RGB},
      {GST_VIDEO_FORMAT_BGRA, PVLR_FORMAT_BGRA}, {GST_VIDEO_FORMAT_BGRx, PVLR_FORMAT_BGRA},
      {GST_VIDEO_FORMAT_RGBA, PVLR_FORMAT_RGBA}, {GST_VIDEO_FORMAT_RGBx, PVLR_FORMAT_RGBA},
      {GST_VIDEO_FORMAT_GRAY8, PVLR_FORMAT_GRAY}};
  for (const auto& [known, read] : kFormats) {
    if (known == format) return read;
  }
  return 0;  // which libpvlr refuses
}

// GStreamer has filled in the matrix of the size where the caps have no colorimetry: BT.709 above 576 rows. The
// matrices that libpvlr lacks are read as the nearest of the two.
std::int32_t matrix_of(const GstVideoColorimetry& colorimetry) {
  const GstVideoColorMatrix matrix = colorimetry.matrix;
  const bool nearest_bt709 = matrix == GST_VIDEO_COLOR_MATRIX_BT709 || matrix == GST_VIDEO_COLOR_MATRIX_SMPTE240M ||
                             matrix == GST_VIDEO_COLOR_MATRIX_BT2020;
  return nearest_bt709 ? PVLR_MATRIX_BT709 : PVLR_MATRIX_BT601;
}

pvlr_frame describe(const GstVideoFrame& mapped, const Place& place) {
  auto frame = make<pvlr_frame>();
  frame.memory = place.memory;
  frame.stream = place.stream;
  frame.format = format_of(GST_VIDEO_FRAME_FORMAT(&mapped));
  frame.matrix = matrix_of(mapped.info.colorimetry);
  const bool full = mapped.info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
  frame.range = full ? PVLR_RANGE_FULL : PVLR_RANGE_LIMITED;
  frame.width = GST_VIDEO_FRAME_WIDTH(&mapped);
  frame.height = GST_VIDEO_FRAME_HEIGHT(&mapped);
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(&mapped); ++i) {
    frame.planes[i] = GST_VIDEO_FRAME_PLANE_DATA(&mapped, i);
    frame.pitches[i] = GST_VIDEO_FRAME_PLANE_STRIDE(&mapped, i);
  }
  return frame;
}

}  // namespace

Session::Session(const Settings& settings) : plan_(settings.plan), tagger_(opened(settings)) {
  if (!settings.bank.empty()) set_labels(settings.bank);
  if (settings.labels.empty()) return;
  const pvlr_info known = info();
  g_auto(GStrv) names = g_strsplit(settings.labels.c_str(), ",", -1);
  for (gchar** name = names; *name != nullptr; ++name) {
    const std::string wanted = g_strstrip(*name);
    const char* const* const end = known.labels + known.label_count;
    if (std::find(known.labels, end, wanted) == end) {
      throw std::invalid_argument("labels: expected labels of " + std::string(known.name) +
                                  ", separated by commas, got \"" + wanted + "\". \"pvlr labels PLAN\" lists them.");
    }
    wanted_.insert(wanted);
  }
}

void Session::set_labels(const std::string& bank) {
  if (!bank.empty()) return tagger_.set_labels(bank);
  namespace fs = std::filesystem;
  const fs::path plan = fs::is_directory(plan_) ? fs::path(plan_) / "engine.plan" : fs::path(plan_);
  tagger_.set_labels(fs::path(plan).replace_extension(".labels.safetensors").string());
}

void Session::tag(GstVideoInfo video, GstBuffer* buffer, GstStructure* fields) const {
  const Place place = place_of(buffer, is_on_gpu(), &video);
  GstVideoFrame mapped;
  // Without a reference to the buffer, which would make its metadata read-only.
  const auto flags = static_cast<GstMapFlags>(place.flags | static_cast<int>(GST_VIDEO_FRAME_MAP_FLAG_NO_REF));
  if (!gst_video_frame_map(&mapped, &video, buffer, flags)) {
    throw std::runtime_error("buffer: expected a readable frame of " + std::to_string(video.size) + " bytes, got " +
                             std::to_string(gst_buffer_get_size(buffer)) + " bytes");
  }
  const std::unique_ptr<GstVideoFrame, decltype(&gst_video_frame_unmap)> unmap(&mapped, gst_video_frame_unmap);
  Job job = tagger_.submit(describe(mapped, place));
  const std::vector<pvlr_tag> tags = job.tags();
  GValue labels = G_VALUE_INIT;
  GValue scores = G_VALUE_INIT;
  gst_value_array_init(&labels, 0);
  gst_value_array_init(&scores, 0);
  for (const pvlr_tag& tag : tags) {
    if (!wanted_.empty() && wanted_.find(tag.label) == wanted_.end()) continue;
    GValue label = G_VALUE_INIT;
    g_value_init(&label, G_TYPE_STRING);
    g_value_set_string(&label, tag.label);
    gst_value_array_append_and_take_value(&labels, &label);
    GValue score = G_VALUE_INIT;
    g_value_init(&score, G_TYPE_FLOAT);
    g_value_set_float(&score, tag.score);
    gst_value_array_append_and_take_value(&scores, &score);
  }
  gst_structure_set(fields, "model", G_TYPE_STRING, info().name, nullptr);
  gst_structure_take_value(fields, "labels", &labels);
  gst_structure_take_value(fields, "scores", &scores);
}

void add_analytics([[maybe_unused]] GstBuffer* buffer, [[maybe_unused]] const GstStructure* fields) {
#ifdef PVLR_ANALYTICS
  const GValue* const labels = gst_structure_get_value(fields, "labels");
  const GValue* const scores = gst_structure_get_value(fields, "scores");
  const guint count = gst_value_array_get_size(labels);
  if (count == 0) return;  // which the metadata cannot say
  std::vector<gfloat> levels;
  std::vector<GQuark> classes;
  for (guint i = 0; i < count; ++i) {
    levels.push_back(g_value_get_float(gst_value_array_get_value(scores, i)));
    classes.push_back(g_quark_from_string(g_value_get_string(gst_value_array_get_value(labels, i))));
  }
  GstAnalyticsRelationMeta* meta = gst_buffer_get_analytics_relation_meta(buffer);
  if (meta == nullptr) meta = gst_buffer_add_analytics_relation_meta(buffer);
  GstAnalyticsClsMtd added;
  gst_analytics_relation_meta_add_cls_mtd(meta, count, levels.data(), classes.data(), &added);
#endif
}

}  // namespace pvlr::gstreamer
