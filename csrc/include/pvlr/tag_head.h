// The tag head: from image tokens X and label tokens T to tags, in one pass.
//   similarity of token n and label c: s_nc = scale * cos(LN(X)_n, LN(T)_c)
//   logit_c = sum over n of w_nc s_nc, plus bias_c, with w_nc = softmax over n of alpha s_nc
//   score_c = sigmoid(logit_c), and c is a tag if score_c >= threshold_c
// The pooling is a mean for alpha = 0, and a maximum for a large alpha (1e4).
#pragma once

#include <cstddef>
#include <cstdint>

#include "pvlr/common.h"

namespace pvlr {

// Elements from one batch entry and row to the next. Rows are contiguous. A batch stride of 0 shares an input.
struct TagHeadStrides {
  std::int64_t batch;
  std::int64_t row;
};

// LN(v) = (v - mean(v)) / sqrt(variance(v) + epsilon) * weight + bias. Both null: LN(v) = v.
struct TagHeadNorm {
  const float* weight;  // (width,)
  const float* bias;    // (width,)
};

enum class TagHeadMap : std::int32_t { kWeights, kSimilarity };  // w_nc or s_nc

// A row of zeros has similarity 0 with all others.
struct TagHeadParams {
  const void* x;  // (batch, tokens, width), of `type`
  const void* t;  // (batch, labels, width), of `type`
  TagHeadStrides x_strides;
  TagHeadStrides t_strides;
  TagHeadNorm x_norm;
  TagHeadNorm t_norm;
  const float* bias;        // (labels,); null: zeros
  const float* thresholds;  // (labels,); null without tags
  float scale;
  float alpha;
  float epsilon;  // of the layer norms

  // Contiguous. All except the logits may be null, and are then not computed.
  float* logits;            // (batch, labels)
  float* scores;            // (batch, labels)
  std::uint8_t* tags;       // (batch, labels): 1 or 0
  std::uint8_t* nonfinite;  // (batch, labels): 1 if the logit is NaN or infinite, else 0. NaN or infinity in a row of x
                            // makes all logits of the image NaN, in a row of t those of the label

  // The attention maps of some labels, if wanted. An entry of `chosen` that is not a label leaves its map unchanged.
  float* maps;                 // (batch, maps_count, tokens); null: none
  const std::int32_t* chosen;  // (maps_count,) labels; null: the first maps_count labels
  std::int64_t maps_count;
  std::int64_t maps_batch_stride;  // in elements, any layout: (batch, tokens, maps_count) too
  std::int64_t maps_label_stride;
  std::int64_t maps_token_stride;
  TagHeadMap maps_kind;

  std::int64_t batch;
  std::int64_t tokens;
  std::int64_t labels;
  std::int64_t width;  // 8 to 1024, a multiple of 8
  DataType type;

  // On the CPU only: how many threads share the images; 0 is 1. Results don't depend on it.
  std::int64_t threads;

  // Device launches only: scratch memory, aligned to 16 bytes, that no other launch uses at the same time.
  void* workspace;
  std::size_t workspace_bytes;
};

// Whether sizes, pointers and strides are valid; the message names the first field that is not.
Status check_tag_head(const TagHeadParams& params);

// The reference, on the CPU and in double: not fast. Safe to call from many threads. Uses no workspace.
Status tag_head_host(const TagHeadParams& params);

// Bytes of workspace that a launch on the current CUDA device needs: none with few labels, never more for a smaller
// batch. Pointers may still be null.
Status tag_head_cuda_workspace(const TagHeadParams& params, std::size_t* bytes);

// Queues one kernel, or two with many labels, on a cudaStream_t of the current device. Neither allocates nor waits, so
// it can be captured in a graph. Rows of x and t and the norms' weights and biases must be aligned to 16 bytes. All
// sums are float32. Results are bit-identical from run to run.
Status tag_head_cuda(const TagHeadParams& params, void* stream);

}  // namespace pvlr
