// The launcher refuses invalid arguments with messages that name them, and reports the size of its workspace and one
// that suffices on any device.
#include <algorithm>
#include <functional>
#include <vector>

#include "../launcher_checks.h"
#include "emulator/block.h"
#include "pvlr/dual_softmax_attention.h"

namespace {

using Params = pvlr::DualSoftmaxAttentionParams;
using pvlr::StatusCode;
constexpr std::int64_t kTokens = 70;
constexpr std::int64_t kLabels = 130;
constexpr std::int64_t kDim = 32;
alignas(16) unsigned char tensors[6][kLabels * kDim * 2 + 32];

Params good() {
  Params p{};
  p.batch = p.heads = 1;
  p.tokens = kTokens;
  p.labels = kLabels;
  p.dim = kDim;
  p.type = pvlr::DataType::kFloat16;
  p.q_x = tensors[0];
  p.k_t = tensors[1];
  p.v_x = tensors[2];
  p.v_t = tensors[3];
  p.o_x = tensors[4];
  p.o_t = tensors[5];
  p.q_x_strides = p.v_x_strides = p.o_x_strides = {kTokens * kDim, kTokens * kDim, kDim};
  p.k_t_strides = p.v_t_strides = p.o_t_strides = {kLabels * kDim, kLabels * kDim, kDim};
  return p;
}

// On devices of every size, with much and with little shared memory, nothing needs more than the limit for the largest
// batch, and something needs just that.
void check_limit(pvlr::DataType type, std::int64_t heads, std::int64_t tokens, std::int64_t labels, std::int64_t dim) {
  Params p = good();
  p.type = type;
  p.batch = 9;
  p.heads = heads;
  p.tokens = tokens;
  p.labels = labels;
  p.dim = dim;
  p.o_x_strides = p.o_t_strides = {heads * dim, dim, 9 * heads * dim};
  std::size_t limit = 0;
  std::size_t most = 0;
  expect(pvlr::dual_softmax_attention_cuda_workspace_limit(p, &limit).ok(), "a limit");
  const auto device = simt::device;
  for (p.batch = 1; p.batch <= 9; ++p.batch) {
    for (const std::size_t shared : {std::size_t{64} << 10, std::size_t{227} << 10}) {
      for (int multiprocessors = 1; multiprocessors <= 520; ++multiprocessors) {
        simt::device.shared_bytes_per_block = shared;
        simt::device.multiprocessors = multiprocessors;
        std::size_t bytes = 0;
        expect(pvlr::dual_softmax_attention_cuda_workspace(p, &bytes).ok(), "a workspace");
        most = std::max(most, bytes);
      }
    }
  }
  simt::device = device;
  expect(most == limit, "the limit is what the greediest device and batch need");
}

// A device with 16 multiprocessors splits a call only where that saves more than the merge costs.
void check_splits() {
  const auto bytes_of = [](std::int64_t tokens, std::int64_t labels) {
    Params p = good();
    p.heads = 8;
    p.tokens = tokens;
    p.labels = labels;
    p.o_x_strides = p.o_t_strides = {8 * kDim, kDim, 8 * kDim};
    std::size_t bytes = 0;
    expect(pvlr::dual_softmax_attention_cuda_workspace(p, &bytes).ok(), "a workspace");
    return static_cast<std::int64_t>(bytes);
  };
  const auto rows = [](std::int64_t count) { return 8 * count * (kDim + 2) * 4; };
  const auto device = simt::device;
  simt::device.multiprocessors = 16;
  expect(bytes_of(81, 20) == 0, "few labels are one block of 32, in one launch");
  expect(bytes_of(81, 80) == rows(96), "two blocks of 64 labels, one after the other, in one launch");
  // 18 blocks of 256 labels in two halves, whose rows of tokens are merged.
  expect(bytes_of(784, 4585) == rows(2 * 800), "many labels are split");
  simt::device = device;
}

}  // namespace

int main() {
  check_splits();
  check_limit(pvlr::DataType::kFloat16, 8, 196, 80, 64);
  check_limit(pvlr::DataType::kFloat16, 8, 49, 4585, 64);
  check_limit(pvlr::DataType::kBfloat16, 3, 301, 1000, 128);
  check_limit(pvlr::DataType::kFloat32, 4, 784, 20, 32);
  std::size_t bytes = 0;
  Params sizes = good();
  sizes.q_x = sizes.k_t = sizes.v_x = sizes.v_t = sizes.o_x = sizes.o_t = nullptr;
  expect(pvlr::dual_softmax_attention_cuda_workspace(sizes, &bytes).ok() && bytes > 0, "a workspace without pointers");
  std::vector<float> workspace(bytes / sizeof(float) + 4);
  const auto with_workspace = [&] {
    Params p = good();
    p.workspace = workspace.data();
    p.workspace_bytes = bytes;
    return p;
  };
  expect(pvlr::dual_softmax_attention_cuda(with_workspace(), nullptr).ok(), "good arguments are taken");
  simt::device.refuses = true;
  const pvlr::Status refused = pvlr::dual_softmax_attention_cuda(with_workspace(), nullptr);
  expect(refused.code == StatusCode::kLaunchFailed && *refused.cause != '\0', "a refused launch", refused.message);
  simt::device.refuses = false;

  const struct {
    const char* name;
    std::function<void(Params&)> spoil;
    StatusCode code = StatusCode::kInvalidArgument;
  } cases[] = {
      {"batch", [](Params& p) { p.batch = 0; }},
      {"heads", [](Params& p) { p.heads = -1; }},
      {"tokens", [](Params& p) { p.tokens = 0; }},
      {"labels", [](Params& p) { p.labels = std::int64_t{1} << 40; }},
      {"dim", [](Params& p) { p.dim = 48; }},
      {"type", [](Params& p) { p.type = static_cast<pvlr::DataType>(7); }},
      {"q_x", [](Params& p) { p.q_x = nullptr; }},
      {"k_t", [](Params& p) { p.k_t = nullptr; }},
      {"v_x", [](Params& p) { p.v_x = tensors[2] + 2; }},
      {"v_t", [](Params& p) { p.v_t_strides.row = kDim + 1; }},
      {"o_x", [](Params& p) { p.o_x = tensors[4] + 8; }},
      {"o_t", [](Params& p) { p.o_t = nullptr; }},
      {"threads", [](Params& p) { p.threads = 1025; }},
      {"o_x_strides", [](Params& p) { p.o_x_strides.row = 0; }},
      {"o_x_strides",
       [](Params& p) {  // a head ends where the next but one begins
         p.heads = 3;
         p.o_x_strides.head = kTokens * kDim / 2;
       }},
      {"o_t_strides", [](Params& p) { p.o_t_strides.row = kDim - 8; }},
      {"workspace", [](Params& p) { p.workspace = static_cast<char*>(p.workspace) + 4; }},
      {"workspace_bytes", [](Params& p) { p.workspace_bytes -= 1; }, StatusCode::kWorkspaceTooSmall},
      {"workspace_bytes", [](Params& p) { p.workspace = nullptr; }, StatusCode::kWorkspaceTooSmall},
  };
  for (const auto& one : cases) {
    Params p = with_workspace();
    one.spoil(p);
    expect_refused(pvlr::dual_softmax_attention_cuda(p, nullptr), one.code, one.name);
  }
  return result();
}
