// The launchers of the tag head that the instantiation files define, one pair for each type.
#pragma once

#include "pvlr/tag_head.h"

namespace pvlr::device {

struct TagHeadLauncher {
  int columns;  // labels in a thread block
  Status (*launch)(const TagHeadParams&, void* stream);
};

// Large label blocks read the tokens less often, small ones occupy more multiprocessors.
struct TagHeadLaunchers {
  TagHeadLauncher large;
  TagHeadLauncher small;
};

template <DataType kType>
TagHeadLaunchers tag_head_launchers();

}  // namespace pvlr::device
