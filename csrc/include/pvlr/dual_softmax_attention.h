// Dual-softmax attention: one affinity S = Q_x K_t^T / sqrt(dim) between image tokens and labels, read in both
// directions:
//   O_x = softmax over labels of S, times V_t        O_t = (softmax over tokens of S)^T times V_x
#pragma once

#include <cstddef>
#include <cstdint>

#include "pvlr/common.h"

namespace pvlr {

// Elements from one batch entry, head and row to the next. Rows are contiguous. A batch stride of 0 shares an input.
struct AttentionStrides {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t row;
};

// All tensors have the same type. The affinity is never stored as a whole.
struct DualSoftmaxAttentionParams {
  const void* q_x;  // (batch, heads, tokens, dim)
  const void* k_t;  // (batch, heads, labels, dim)
  const void* v_x;  // (batch, heads, tokens, dim)
  const void* v_t;  // (batch, heads, labels, dim)
  void* o_x;        // (batch, heads, tokens, dim)
  void* o_t;        // (batch, heads, labels, dim)
  AttentionStrides q_x_strides;
  AttentionStrides k_t_strides;
  AttentionStrides v_x_strides;
  AttentionStrides v_t_strides;
  AttentionStrides o_x_strides;
  AttentionStrides o_t_strides;

  // A byte of zero masks a label; null: none is masked. Masked labels get zeros in o_t and no weight in o_x; if all
  // labels are masked, o_x is zero too.
  const std::uint8_t* mask;  // (labels,), or (batch, labels) with mask_batch_stride != 0
  std::int64_t mask_batch_stride;

  std::int64_t batch;
  std::int64_t heads;
  std::int64_t tokens;
  std::int64_t labels;
  std::int64_t dim;  // 32, 64, 96 or 128
  DataType type;

  // On the CPU only: how many threads share the batch entries' heads; 0 is 1. Results don't depend on it.
  std::int64_t threads;

  // Device launches only: scratch memory, aligned to 16 bytes, that no other launch uses at the same time.
  void* workspace;
  std::size_t workspace_bytes;
};

// Whether sizes, pointers and strides are valid; the message names the first field that is not.
Status check_dual_softmax_attention(const DualSoftmaxAttentionParams& params);

// The reference, on the CPU and in double: not fast. Safe to call from many threads. Uses no workspace.
Status dual_softmax_attention_host(const DualSoftmaxAttentionParams& params);

// Bytes of workspace that a launch on the current CUDA device needs. Pointers may still be null.
Status dual_softmax_attention_cuda_workspace(const DualSoftmaxAttentionParams& params, std::size_t* bytes);

// Bytes of workspace that suffice on any CUDA device, for this batch and for smaller ones. Needs no device.
Status dual_softmax_attention_cuda_workspace_limit(const DualSoftmaxAttentionParams& params, std::size_t* bytes);

// Queues the work on a cudaStream_t of the current device. Neither allocates nor waits, so it can be captured in a
// graph. Rows of all tensors must be aligned to 16 bytes. Results are bit-identical from run to run on a device.
Status dual_softmax_attention_cuda(const DualSoftmaxAttentionParams& params, void* stream);

}  // namespace pvlr
