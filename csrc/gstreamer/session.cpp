#include "session.h"

#include <algorithm>
#include <stdexcept>

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
  return Tagger(settings.plan, options);
}

}  // namespace

Session::Session(const Settings& settings)
    : tagger_(opened(settings)), info_(tagger_.info()), wanted_(info_.label_count, settings.labels.empty()) {
  if (!settings.labels.empty()) choose(settings.labels);
}

void Session::choose(const std::string& labels) {
  g_auto(GStrv) names = g_strsplit(labels.c_str(), ",", -1);
  for (gchar** name = names; *name != nullptr; ++name) {
    const std::string wanted = g_strstrip(*name);
    const char* const* const end = info_.labels + info_.label_count;
    const char* const* const found = std::find(info_.labels, end, wanted);
    if (found == end) {
      throw std::invalid_argument("labels: expected labels of " + std::string(info_.name) +
                                  ", separated by commas, got \"" + wanted + "\". \"pvlr labels PLAN\" lists them.");
    }
    wanted_[static_cast<std::size_t>(found - info_.labels)] = true;
  }
}

void Session::tag(const MappedFrame& frame, FoundTags* found) const {
  Job job = tagger_.submit(frame.describe());
  for (const pvlr_tag& tag : job.tags()) {
    if (wanted_[tag.index]) found->add(tag);
  }
}

}  // namespace pvlr::gstreamer
