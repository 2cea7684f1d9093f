#include "launchers.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "pvlr/dual_softmax_attention.h"
#include "pvlr/tag_head.h"

int allocations = 0;

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace pvlr {
namespace {

// The CPU versions may allocate; the launchers do not.
template <typename Work>
Status uncounted(const Work& work) {
  const int before = allocations;
  const Status status = work();
  allocations = before;
  return status;
}

}  // namespace

// Grows with every size, as the real one does.
Status dual_softmax_attention_cuda_workspace_limit(const DualSoftmaxAttentionParams& params, std::size_t* bytes) {
  static char anything;
  DualSoftmaxAttentionParams p = params;
  p.q_x = p.k_t = p.v_x = p.v_t = &anything;
  p.o_x = p.o_t = &anything;
  *bytes = static_cast<std::size_t>(p.batch * (p.tokens + p.labels) * 8);
  return check_dual_softmax_attention(p);
}

Status dual_softmax_attention_cuda(const DualSoftmaxAttentionParams& params, void*) {
  std::size_t bytes = 0;
  const Status checked = dual_softmax_attention_cuda_workspace_limit(params, &bytes);
  if (!checked.ok()) return checked;
  if (params.workspace == nullptr || params.workspace_bytes < bytes) {
    return {StatusCode::kWorkspaceTooSmall, "workspace_bytes: too small"};
  }
  std::memset(params.workspace, 0xA5, params.workspace_bytes);  // writes to all of it
  return uncounted([&params] { return dual_softmax_attention_host(params); });
}

Status tag_head_cuda_workspace(const TagHeadParams& params, std::size_t* bytes) {
  static float anything;
  TagHeadParams p = params;
  p.x = p.t = &anything;
  p.logits = &anything;
  *bytes = 0;
  return check_tag_head(p);
}

Status tag_head_cuda(const TagHeadParams& params, void*) {
  return uncounted([&params] { return tag_head_host(params); });
}

}  // namespace pvlr
