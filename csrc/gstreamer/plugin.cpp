// libgstpvlr.so as GStreamer loads it.
#include <gst/gst.h>

#include "element.h"
#include "tags.h"

#define PACKAGE "pvlr"  // which GST_PLUGIN_DEFINE reads

static gboolean register_all(GstPlugin* plugin) {
  pvlr::gstreamer::register_metadata();
  return gst_element_register(plugin, "pvlrtag", GST_RANK_NONE, gst_pvlr_tag_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, pvlr, "Multi-label image tagging", register_all, PVLR_VERSION,
                  "Apache 2.0", "pvlr_sdk", "https://pypi.org/project/pvlr-sdk")
