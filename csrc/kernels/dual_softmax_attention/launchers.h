// The launchers that the instances define, one for each element type and head dimension.
#pragma once

#include <cstddef>

#include "plan.h"

namespace pvlr::device {

// A kernel for one type, dimension and size of label blocks.
struct AttentionLauncher {
  int columns;               // labels in a block
  int blocks_per_processor;  // thread blocks that a multiprocessor should get
  std::size_t shared_bytes;
  // Queues the kernel and, if something is split, the merge.
  Status (*launch)(const AttentionArguments&, void* stream);
};

// Larger label blocks read each token less often, but waste work if they are much larger than the number of labels. The
// small and tiny ones fit every device; tiny ones are for labels that fit one of them.
struct AttentionLaunchers {
  AttentionLauncher large;
  AttentionLauncher small;
  AttentionLauncher tiny;
};

template <typename T, int kDim>
AttentionLaunchers attention_launchers();

}  // namespace pvlr::device
