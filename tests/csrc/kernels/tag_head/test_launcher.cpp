// The launcher of the tag head refuses invalid arguments with messages that name them; outputs are optional.
#include <cmath>
#include <functional>

#include "../launcher_checks.h"
#include "emulator/block.h"
#include "pvlr/tag_head.h"

namespace {

using Params = pvlr::TagHeadParams;
using pvlr::StatusCode;
constexpr std::int64_t kTokens = 20;
constexpr std::int64_t kLabels = 30;
constexpr std::int64_t kWidth = 32;
alignas(16) unsigned char tensors[2][kLabels * kWidth * 2 + 32];
alignas(16) float norm[kWidth + 4];
float values[kLabels];
float logits[kLabels];
float maps[kLabels * kTokens];
std::uint8_t bytes[kLabels];
std::int32_t chosen[2] = {0, 1};

Params good() {
  Params p{};
  p.batch = 1;
  p.tokens = kTokens;
  p.labels = kLabels;
  p.width = kWidth;
  p.type = pvlr::DataType::kFloat16;
  p.x = tensors[0];
  p.t = tensors[1];
  p.x_strides = {kTokens * kWidth, kWidth};
  p.t_strides = {0, kWidth};
  p.x_norm = p.t_norm = {norm, norm};
  p.bias = p.thresholds = values;
  p.scale = 12.0F;
  p.alpha = 0.5F;
  p.epsilon = 1e-5F;
  p.logits = logits;
  p.tags = bytes;
  p.maps = maps;
  p.chosen = chosen;
  p.maps_count = 2;
  p.maps_label_stride = kTokens;
  p.maps_token_stride = 1;
  return p;
}

}  // namespace

int main() {
  Params least = good();
  least.bias = least.thresholds = nullptr;
  least.tags = nullptr;
  least.maps = nullptr;
  least.x_norm = least.t_norm = {};
  expect(pvlr::tag_head_cuda(good(), nullptr).ok(), "good arguments are taken");
  expect(pvlr::tag_head_cuda(least, nullptr).ok(), "what may be null may be null");
  simt::device.refuses = true;
  const pvlr::Status refused = pvlr::tag_head_cuda(good(), nullptr);
  expect(refused.code == StatusCode::kLaunchFailed && *refused.cause != '\0', "a refused launch", refused.message);
  simt::device.refuses = false;
  std::size_t workspace = 1;
  Params sizes = good();
  sizes.x = sizes.t = nullptr;
  sizes.logits = nullptr;
  sizes.x_norm.weight = nullptr;
  expect(pvlr::tag_head_cuda_workspace(sizes, &workspace).ok() && workspace == 0, "no workspace, without pointers");
  Params many = good();
  many.labels = 300;  // normalised rows of the tokens and of the one label bank
  const auto needed = static_cast<std::size_t>((many.batch * many.tokens + many.labels) * many.width * 2);
  expect(pvlr::tag_head_cuda_workspace(many, &workspace).ok() && workspace == needed, "a workspace for many labels");
  many.workspace = tensors;
  many.workspace_bytes = needed - 1;
  expect_refused(pvlr::tag_head_cuda(many, nullptr), StatusCode::kWorkspaceTooSmall, "workspace_bytes");
  many.workspace_bytes = needed;
  many.workspace = reinterpret_cast<char*>(tensors) + 8;
  expect_refused(pvlr::tag_head_cuda(many, nullptr), StatusCode::kInvalidArgument, "workspace");
  expect(!pvlr::tag_head_cuda_workspace(sizes, nullptr).ok(), "the query needs somewhere to write");

  const struct {
    const char* name;
    std::function<void(Params&)> spoil;
  } cases[] = {
      {"batch", [](Params& p) { p.batch = 0; }},
      {"tokens", [](Params& p) { p.tokens = -1; }},
      {"labels", [](Params& p) { p.labels = std::int64_t{1} << 40; }},
      {"batch",
       [](Params& p) {
         p.batch = p.labels = std::int64_t{1} << 20;
         p.maps = nullptr;
       }},
      {"width", [](Params& p) { p.width = 36; }},
      {"width", [](Params& p) { p.width = 1032; }},
      {"type", [](Params& p) { p.type = static_cast<pvlr::DataType>(7); }},
      {"x", [](Params& p) { p.x = nullptr; }},
      {"x", [](Params& p) { p.x = tensors[0] + 2; }},
      {"t", [](Params& p) { p.t = nullptr; }},
      {"t", [](Params& p) { p.t_strides.row = kWidth + 1; }},
      {"x_norm", [](Params& p) { p.x_norm.bias = nullptr; }},
      {"t_norm", [](Params& p) { p.t_norm.weight = nullptr; }},
      {"x_norm.bias", [](Params& p) { p.x_norm.bias = norm + 1; }},
      {"t_norm.weight", [](Params& p) { p.t_norm.weight = norm + 2; }},
      {"scale", [](Params& p) { p.scale = INFINITY; }},
      {"alpha", [](Params& p) { p.alpha = NAN; }},
      {"epsilon", [](Params& p) { p.epsilon = -1.0F; }},
      {"epsilon", [](Params& p) { p.epsilon = NAN; }},
      {"logits", [](Params& p) { p.logits = nullptr; }},
      {"thresholds", [](Params& p) { p.thresholds = nullptr; }},
      {"threads", [](Params& p) { p.threads = -1; }},
      {"maps_count", [](Params& p) { p.maps_count = 0; }},
      {"maps_count",
       [](Params& p) {
         p.chosen = nullptr;
         p.maps_count = kLabels + 1;
       }},
      {"maps_kind", [](Params& p) { p.maps_kind = static_cast<pvlr::TagHeadMap>(5); }},
      {"maps_strides", [](Params& p) { p.maps_label_stride = kTokens - 1; }},
      {"maps_strides", [](Params& p) { p.maps_token_stride = 0; }},
  };
  for (const auto& one : cases) {
    Params p = good();
    one.spoil(p);
    expect_refused(pvlr::tag_head_cuda(p, nullptr), StatusCode::kInvalidArgument, one.name);
  }
  return result();
}
