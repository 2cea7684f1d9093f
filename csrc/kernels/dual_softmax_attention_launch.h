// The launchers that the instantiation files define, one for each type and dimension.
#pragma once

#include <cstddef>

#include "dual_softmax_attention_plan.h"

namespace pvlr::device {

// A kernel for one type, dimension and size of label blocks.
struct AttentionLauncher {
  int columns;               // labels in a block
  int blocks_per_processor;  // thread blocks that a multiprocessor should get
  std::size_t shared_bytes;
  // Queues the kernel and, if something is split, the merge.
  Status (*launch)(const AttentionArguments&, void* stream);
};

// From the largest label blocks to the smallest, which fits every device. Blocks much larger than the number of labels
// waste work; otherwise larger ones touch each token less often.
struct AttentionLaunchers {
  AttentionLauncher large;
  AttentionLauncher small;
};

template <DataType kType, int kDim>
AttentionLaunchers attention_launchers();

}  // namespace pvlr::device
