// Runs batch preprocessing on frames from a file, on the emulated device or the CPU; the test compares the results.
// Buffers have no spare bytes, so that AddressSanitizer sees every access out of bounds.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "emulator/block.h"
#include "pvlr/preprocess.h"

namespace {

using Bytes = std::vector<unsigned char>;

template <typename T>
void read(std::FILE* file, T* to, std::size_t count) {
  if (std::fread(to, sizeof(T), count, file) == count) return;
  std::fprintf(stderr, "the input is too short\n");
  std::exit(2);
}

std::int32_t read_int(std::FILE* file) {
  std::int32_t value;
  read(file, &value, 1);
  return value;
}

pvlr::Rectangle read_rectangle(std::FILE* file) {
  pvlr::Rectangle r;
  read(file, &r.left, 1);
  read(file, &r.top, 1);
  read(file, &r.width, 1);
  read(file, &r.height, 1);
  return r;
}

}  // namespace

// arguments: input output host|kernel reverse
int main(int count, char** arguments) {
  if (count != 5) return 2;
  std::FILE* input = std::fopen(arguments[1], "rb");
  if (input == nullptr) return 2;
  pvlr::PreprocessBatchParams p{};
  p.count = read_int(input);
  p.type = static_cast<pvlr::DataType>(read_int(input));
  p.dst_width = read_int(input);
  p.dst_height = read_int(input);
  read(input, p.normalisation.scale, 3);
  read(input, p.normalisation.bias, 3);
  read(input, p.normalisation.pad, 3);

  std::vector<pvlr::BatchFrame> frames(static_cast<std::size_t>(p.count));
  std::vector<Bytes> buffers;
  for (pvlr::BatchFrame& frame : frames) {
    frame = {};
    frame.format = static_cast<pvlr::PixelFormat>(read_int(input));
    frame.matrix = static_cast<pvlr::YuvMatrix>(read_int(input));
    frame.range = static_cast<pvlr::YuvRange>(read_int(input));
    frame.width = read_int(input);
    frame.height = read_int(input);
    frame.crop = read_rectangle(input);
    frame.region = read_rectangle(input);
    const std::int32_t planes = read_int(input);
    for (std::int32_t i = 0; i < planes; ++i) {
      frame.pitches[i] = read_int(input);
      const std::int32_t offset = read_int(input);
      Bytes buffer(static_cast<std::size_t>(read_int(input)));
      read(input, buffer.data(), buffer.size());
      buffers.push_back(std::move(buffer));
      frame.planes[i] = buffers.back().data() + offset;
    }
  }
  std::fclose(input);
  p.frames = frames.data();
  const std::size_t size = p.type == pvlr::DataType::kFloat32 ? 4 : 2;
  Bytes output(static_cast<std::size_t>(p.count * 3 * p.dst_width * p.dst_height) * size, 0xFF);
  p.dst = output.data();
  simt::device.reverse_warps = std::string(arguments[4]) == "1";

  const bool host = std::string(arguments[3]) == "host";
  const pvlr::Status status = host ? pvlr::preprocess_batch_host(p) : pvlr::preprocess_batch_cuda(p, nullptr);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message);
    return 3;
  }
  std::FILE* file = std::fopen(arguments[2], "wb");
  if (file == nullptr) return 2;
  std::fwrite(output.data(), 1, output.size(), file);
  std::fclose(file);
  return 0;
}
