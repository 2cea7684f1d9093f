// The launchers that the instances define, one pair for each element type.
#pragma once

#include "pvlr/tag_head.h"

namespace pvlr::device {

struct TagHeadLauncher {
  int columns;  // labels in a thread block
  Status (*launch)(const TagHeadParams&, void* stream);
};

// Large label blocks read the tokens less often; small ones occupy more multiprocessors.
struct TagHeadLaunchers {
  TagHeadLauncher large;
  TagHeadLauncher small;
};

// Those that write normalised rows to the workspace first, or those that normalise in each label block.
template <typename T>
TagHeadLaunchers tag_head_launchers(bool normalises_ahead);

}  // namespace pvlr::device
