// The tag head: from image tokens X and label tokens T to tags, in one pass.
//   similarity of token n and label c: s_nc = scale * cos(LN(X)_n, LN(T)_c)
//   logit_c = sum over n of w_nc s_nc, plus bias_c, with w_nc = softmax over n of alpha s_nc
//   score_c = sigmoid(logit_c), and c is a tag if score_c >= threshold_c
// alpha = 0 makes the pooling a mean, a large alpha (1e4) a maximum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pvlr/data_type.h"
#include "pvlr/status.h"

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

// Everything that a launch needs, as plain data. A row that is zero has similarity 0 with all others.
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

  // Contiguous. All but the logits may be null, and are then left out.
  float* logits;            // (batch, labels)
  float* scores;            // (batch, labels)
  std::uint8_t* tags;       // (batch, labels): 1 or 0
  std::uint8_t* nonfinite;  // (batch, labels): 1 if the logit is NaN or infinite, else 0. NaN or infinity in a row of x
                            // makes all logits of the image NaN, in a row of t those of the label

  // The attention maps of some labels, if wanted. An entry of `chosen` that is no label leaves its map as it was.
  float* maps;                 // (batch, maps_count, tokens); null: none
  const std::int32_t* chosen;  // (maps_count,) labels; null: the first maps_count labels
  std::int64_t maps_count;
  std::int64_t maps_batch_stride;  // in elements, and free: (batch, tokens, maps_count) is as good
  std::int64_t maps_label_stride;
  std::int64_t maps_token_stride;
  TagHeadMap maps_kind;

  std::int64_t batch;
  std::int64_t tokens;
  std::int64_t labels;
  std::int64_t width;  // 8 to 1024, a multiple of 8
  DataType type;

  // On the CPU only: how many threads share the labels; 0 is 1. Results don't depend on it.
  std::int64_t threads;

  // Device launches only: scratch memory that no other launch uses at the same time.
  void* workspace;
  std::size_t workspace_bytes;
};

// Whether the sizes, pointers and strides make sense; the message names the first field that does not.
Status check_tag_head(const TagHeadParams& params);

// On the CPU, in float32. Safe to call from many threads. Uses no workspace.
Status tag_head_host(const TagHeadParams& params);

// Bytes of workspace that a launch on the current CUDA device needs: none so far. Pointers may still be null.
Status tag_head_cuda_workspace(const TagHeadParams& params, std::size_t* bytes);

// Queues one kernel on a cudaStream_t of the current device; neither allocates nor waits, so that it may be captured in
// a graph. Rows of x and t and the norms' weights and biases must be aligned to 16 bytes. All sums are float32. Results
// are the same bit for bit from run to run.
Status tag_head_cuda(const TagHeadParams& params, void* stream);

}  // namespace pvlr
