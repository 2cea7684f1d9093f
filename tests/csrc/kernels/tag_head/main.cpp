// Runs the tag head on inputs from a file, on the emulated device or the CPU; the test compares the results. Buffers
// have no spare bytes, so that AddressSanitizer sees every access out of bounds.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "emulator/block.h"
#include "pvlr/tag_head.h"

namespace {

using Bytes = std::vector<unsigned char>;

Bytes read_bytes(std::FILE* file, std::int64_t size) {
  Bytes bytes(static_cast<std::size_t>(size));
  if (std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
    std::fprintf(stderr, "the input is too short\n");
    std::exit(2);
  }
  return bytes;
}

const float* floats(const Bytes& bytes) {
  return bytes.empty() ? nullptr : reinterpret_cast<const float*>(bytes.data());
}

}  // namespace

// arguments: input output host|kernel type batch tokens labels width norms(0, 1) shared(1: one t for all entries)
//            maps(0: none, 1: weights, 2: similarity) chosen(how many; 0: all) tokens_last scale alpha multiprocessors
//            reverse threads
int main(int count, char** arguments) {
  if (count != 19) return 2;
  const auto number = [arguments](int i) { return std::strtoll(arguments[i], nullptr, 10); };
  pvlr::TagHeadParams p{};
  p.type = static_cast<pvlr::DataType>(number(4));
  p.batch = number(5);
  p.tokens = number(6);
  p.labels = number(7);
  p.width = number(8);
  p.scale = std::strtof(arguments[14], nullptr);
  p.alpha = std::strtof(arguments[15], nullptr);
  p.epsilon = 1e-5F;
  p.threads = number(18);
  const std::int64_t size = p.type == pvlr::DataType::kFloat32 ? 4 : 2;
  const std::int64_t banks = number(10) != 0 ? 1 : p.batch;
  const std::int64_t norm_bytes = number(9) != 0 ? 4 * p.width : 0;

  std::FILE* input = std::fopen(arguments[1], "rb");
  if (input == nullptr) return 2;
  const Bytes x = read_bytes(input, p.batch * p.tokens * p.width * size);
  const Bytes t = read_bytes(input, banks * p.labels * p.width * size);
  const Bytes x_weight = read_bytes(input, norm_bytes);
  const Bytes x_bias = read_bytes(input, norm_bytes);
  const Bytes t_weight = read_bytes(input, norm_bytes);
  const Bytes t_bias = read_bytes(input, norm_bytes);
  const Bytes bias = read_bytes(input, 4 * p.labels);
  const Bytes thresholds = read_bytes(input, 4 * p.labels);
  const Bytes chosen = read_bytes(input, 4 * number(12));
  std::fclose(input);

  p.x = x.data();
  p.t = t.data();
  p.x_strides = {p.tokens * p.width, p.width};
  p.t_strides = {banks == 1 ? 0 : p.labels * p.width, p.width};
  p.x_norm = {floats(x_weight), floats(x_bias)};
  p.t_norm = {floats(t_weight), floats(t_bias)};
  p.bias = floats(bias);
  p.thresholds = floats(thresholds);

  const auto entries = static_cast<std::size_t>(p.batch * p.labels);
  std::vector<float> logits(entries, 7.0F);
  std::vector<float> scores(entries, 7.0F);
  Bytes tags(entries, 7);
  Bytes nonfinite(entries, 7);
  p.logits = logits.data();
  p.scores = scores.data();
  p.tags = tags.data();
  p.nonfinite = nonfinite.data();
  std::vector<float> maps;
  if (number(11) != 0) {
    p.maps_kind = number(11) == 1 ? pvlr::TagHeadMap::kWeights : pvlr::TagHeadMap::kSimilarity;
    p.chosen = chosen.empty() ? nullptr : reinterpret_cast<const std::int32_t*>(chosen.data());
    p.maps_count = chosen.empty() ? p.labels : number(12);
    maps.assign(static_cast<std::size_t>(p.batch * p.maps_count * p.tokens), 7.0F);
    p.maps = maps.data();
    p.maps_batch_stride = p.maps_count * p.tokens;
    p.maps_label_stride = number(13) != 0 ? p.tokens : 1;
    p.maps_token_stride = number(13) != 0 ? 1 : p.maps_count;
  }
  simt::device.multiprocessors = static_cast<int>(number(16));
  simt::device.reverse_warps = number(17) != 0;

  Bytes workspace;
  pvlr::Status status;
  if (std::string(arguments[3]) == "host") {
    status = pvlr::tag_head_host(p);
  } else {
    status = pvlr::tag_head_cuda_workspace(p, &p.workspace_bytes);
    workspace.assign(p.workspace_bytes, 0xFF);
    p.workspace = workspace.data();
    if (status.ok()) status = pvlr::tag_head_cuda(p, nullptr);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message);
    return 3;
  }
  std::FILE* output = std::fopen(arguments[2], "wb");
  if (output == nullptr) return 2;
  std::fwrite(logits.data(), 4, logits.size(), output);
  std::fwrite(scores.data(), 4, scores.size(), output);
  std::fwrite(tags.data(), 1, tags.size(), output);
  std::fwrite(nonfinite.data(), 1, nonfinite.size(), output);
  if (!maps.empty()) std::fwrite(maps.data(), 4, maps.size(), output);
  std::fclose(output);
  return 0;
}
