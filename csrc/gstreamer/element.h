// The element pvlrtag.
#pragma once

#include <gst/gst.h>

// For gst_element_register.
GType gst_pvlr_tag_get_type();
