// Asks pvlrtag for a CUDA context, as a decoder before it does when it opens its device.
#include <gst/gst.h>
#include <stdio.h>

int main(void) {
  gst_init(NULL, NULL);
  GstElement* element = gst_object_ref_sink(gst_element_factory_make("pvlrtag", NULL));
  GstPad* pad = gst_element_get_static_pad(element, "sink");
  GstQuery* query = gst_query_new_context("gst.cuda.context");
  GstContext* context = NULL;
  if (gst_pad_query(pad, query)) gst_query_parse_context(query, &context);
  puts(context == NULL ? "none" : gst_context_get_context_type(context));
  gst_query_unref(query);
  gst_object_unref(pad);
  gst_object_unref(element);
  return 0;
}
