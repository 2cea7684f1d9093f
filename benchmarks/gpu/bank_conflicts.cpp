// Counts the bank conflicts of a kernel call on zeros with the thread emulator. Addresses don't depend on the values.
//   bank_conflicts attention TOKENS LABELS DIM
//   bank_conflicts tag_head TOKENS LABELS WIDTH tokens_last|labels_last
// prints the phases and the conflicts (tests/emulator/banks.h). The element type is float16; the last word is the layout
// of the maps.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "emulator/banks.h"
#include "emulator/block.h"
#include "pvlr/dual_softmax_attention.h"
#include "pvlr/tag_head.h"

namespace {

std::vector<float> zeros(std::int64_t halves) { return std::vector<float>(static_cast<std::size_t>(halves / 2 + 4)); }

pvlr::Status attention(std::int64_t tokens, std::int64_t labels, std::int64_t dim) {
  pvlr::DualSoftmaxAttentionParams p{};
  p.type = pvlr::DataType::kFloat16;
  p.batch = p.heads = 1;
  p.tokens = tokens;
  p.labels = labels;
  p.dim = dim;
  const auto x = zeros(tokens * dim);
  const auto t = zeros(labels * dim);
  auto o_x = x;
  auto o_t = t;
  p.q_x = p.v_x = x.data();
  p.k_t = p.v_t = t.data();
  p.o_x = o_x.data();
  p.o_t = o_t.data();
  p.q_x_strides = p.v_x_strides = p.o_x_strides = {0, 0, dim};
  p.k_t_strides = p.v_t_strides = p.o_t_strides = {0, 0, dim};
  PVLR_RETURN_IF_ERROR(pvlr::dual_softmax_attention_cuda_workspace(p, &p.workspace_bytes));
  auto workspace = zeros(static_cast<std::int64_t>(p.workspace_bytes / 2));
  p.workspace = workspace.data();
  return pvlr::dual_softmax_attention_cuda(p, nullptr);
}

pvlr::Status tag_head(std::int64_t tokens, std::int64_t labels, std::int64_t width, bool tokens_last) {
  pvlr::TagHeadParams p{};
  p.type = pvlr::DataType::kFloat16;
  p.batch = 1;
  p.tokens = tokens;
  p.labels = labels;
  p.width = width;
  p.scale = p.alpha = 1.0F;
  p.epsilon = 1e-5F;
  const auto x = zeros(tokens * width);
  const auto t = zeros(labels * width);
  auto maps = zeros(2 * tokens * labels);
  auto logits = zeros(2 * labels);
  p.x = x.data();
  p.t = t.data();
  p.x_strides = {0, width};
  p.t_strides = {0, width};
  p.logits = logits.data();
  p.maps = maps.data();
  p.maps_kind = pvlr::TagHeadMap::kSimilarity;
  p.maps_count = labels;
  p.maps_batch_stride = tokens * labels;
  p.maps_label_stride = tokens_last ? tokens : 1;
  p.maps_token_stride = tokens_last ? 1 : labels;
  PVLR_RETURN_IF_ERROR(pvlr::tag_head_cuda_workspace(p, &p.workspace_bytes));
  auto workspace = zeros(static_cast<std::int64_t>(p.workspace_bytes / 2));
  p.workspace = workspace.data();
  return pvlr::tag_head_cuda(p, nullptr);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  const auto number = [arguments](int i) { return std::strtoll(arguments[i], nullptr, 10); };
  simt::device.multiprocessors = 1;
  simt::banks::counts = true;
  const bool tokens_last = count > 5 && std::strcmp(arguments[5], "tokens_last") == 0;
  const pvlr::Status status = std::strcmp(arguments[1], "attention") == 0
                                  ? attention(number(2), number(3), number(4))
                                  : tag_head(number(2), number(3), number(4), tokens_last);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message);
    return 3;
  }
  std::printf("%llu %llu\n", static_cast<unsigned long long>(simt::banks::count.phases),
              static_cast<unsigned long long>(simt::banks::count.conflicts));
  return 0;
}
