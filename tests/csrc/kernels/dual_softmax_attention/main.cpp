// Runs dual-softmax attention on inputs from a file, on the emulated device or the CPU; the test compares the results.
// Buffers have no spare bytes, so that AddressSanitizer sees every access out of bounds.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "emulator/block.h"
#include "pvlr/dual_softmax_attention.h"

namespace {

using Bytes = std::vector<unsigned char>;

Bytes read_bytes(std::FILE* file, std::size_t size) {
  Bytes bytes(size);
  if (std::fread(bytes.data(), 1, size, file) != size) {
    std::fprintf(stderr, "the input is too short\n");
    std::exit(2);
  }
  return bytes;
}

pvlr::AttentionStrides packed(std::int64_t heads, std::int64_t rows, std::int64_t dim) {
  return {heads * rows * dim, rows * dim, dim};
}

}  // namespace

// arguments: input output host|kernel type batch heads tokens labels dim mask(0: none, 1: one, 2: a batch entry)
//            shared(0: one k_t and v_t for all entries) shared_bytes multiprocessors reverse
int main(int count, char** arguments) {
  if (count != 15) return 2;
  const auto number = [arguments](int i) { return std::strtoll(arguments[i], nullptr, 10); };
  pvlr::DualSoftmaxAttentionParams p{};
  p.type = static_cast<pvlr::DataType>(number(4));
  p.batch = number(5);
  p.heads = number(6);
  p.tokens = number(7);
  p.labels = number(8);
  p.dim = number(9);
  const std::size_t size = p.type == pvlr::DataType::kFloat32 ? 4 : 2;
  const auto token_bytes = static_cast<std::size_t>(p.batch * p.heads * p.tokens * p.dim) * size;
  const auto label_bytes = static_cast<std::size_t>(p.batch * p.heads * p.labels * p.dim) * size;
  const bool shared = number(11) != 0;
  const std::size_t bank_bytes = shared ? label_bytes / static_cast<std::size_t>(p.batch) : label_bytes;

  std::FILE* input = std::fopen(arguments[1], "rb");
  if (input == nullptr) return 2;
  const Bytes q_x = read_bytes(input, token_bytes);
  const Bytes k_t = read_bytes(input, bank_bytes);
  const Bytes v_x = read_bytes(input, token_bytes);
  const Bytes v_t = read_bytes(input, bank_bytes);
  const auto mask_rows = number(10) == 2 ? p.batch : number(10);
  const Bytes mask = read_bytes(input, static_cast<std::size_t>(mask_rows * p.labels));
  std::fclose(input);
  Bytes o_x(token_bytes, 0xFF);
  Bytes o_t(label_bytes, 0xFF);

  p.q_x = q_x.data();
  p.k_t = k_t.data();
  p.v_x = v_x.data();
  p.v_t = v_t.data();
  p.o_x = o_x.data();
  p.o_t = o_t.data();
  p.q_x_strides = p.v_x_strides = p.o_x_strides = packed(p.heads, p.tokens, p.dim);
  p.k_t_strides = p.v_t_strides = p.o_t_strides = packed(p.heads, p.labels, p.dim);
  if (shared) p.k_t_strides.batch = p.v_t_strides.batch = 0;
  if (mask_rows > 0) p.mask = mask.data();
  if (number(10) == 2) p.mask_batch_stride = p.labels;
  simt::device.shared_bytes_per_block = static_cast<std::size_t>(number(12));
  simt::device.multiprocessors = static_cast<int>(number(13));
  simt::device.reverse_warps = number(14) != 0;

  pvlr::Status status;
  Bytes workspace;
  if (std::string(arguments[3]) == "host") {
    status = pvlr::dual_softmax_attention_host(p);
  } else {
    std::size_t bytes = 0;
    status = pvlr::dual_softmax_attention_cuda_workspace(p, &bytes);
    workspace.assign(bytes, 0xFF);
    p.workspace = workspace.data();
    p.workspace_bytes = bytes;
    if (status.ok()) status = pvlr::dual_softmax_attention_cuda(p, nullptr);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message);
    return 3;
  }
  std::FILE* output = std::fopen(arguments[2], "wb");
  if (output == nullptr) return 2;
  std::fwrite(o_x.data(), 1, o_x.size(), output);
  std::fwrite(o_t.data(), 1, o_t.size(), output);
  std::fclose(output);
  return 0;
}
