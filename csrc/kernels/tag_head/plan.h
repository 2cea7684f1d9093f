// What the tag head's workspace holds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pvlr/tag_head.h"

namespace pvlr::device {

// Normalising the tokens again for each of 4 blocks of 64 labels takes about as long as another launch (estimated from
// counted instructions, not measured). Depends on the labels only, so that a smaller batch never needs more workspace.
constexpr std::int64_t kLabelsToNormaliseAhead = 256;

inline bool normalises_ahead(const TagHeadParams& p) { return p.labels >= kLabelsToNormaliseAhead; }

// Rows in the workspace: of x, then of t. A label bank that all images share is there once.
struct NormalisedRows {
  std::int64_t tokens;
  std::int64_t labels;
};

PVLR_HOST_DEVICE inline NormalisedRows plan_normalised(const TagHeadParams& p) {
  return {p.batch * p.tokens, (p.t_strides.batch == 0 ? 1 : p.batch) * p.labels};
}

inline std::size_t tag_head_workspace(const TagHeadParams& p) {
  if (!normalises_ahead(p)) return 0;
  const NormalisedRows rows = plan_normalised(p);
  const std::int64_t item = p.type == DataType::kFloat32 ? 4 : 2;
  return static_cast<std::size_t>((rows.tokens + rows.labels) * p.width * item);
}

}  // namespace pvlr::device
