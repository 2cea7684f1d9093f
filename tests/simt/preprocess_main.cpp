// Runs the batch's preprocessing on pictures from a file, on the emulated device or with the host's twin; the test
// compares what it writes. Buffers have no byte to spare, so that AddressSanitizer sees every access beside them.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "block.h"
#include "pvlr/preprocess_batch.h"

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
  read(input, p.scale, 3);
  read(input, p.bias, 3);
  read(input, p.pad, 3);

  std::vector<pvlr::BatchPicture> pictures(static_cast<std::size_t>(p.count));
  std::vector<Bytes> buffers;
  for (pvlr::BatchPicture& picture : pictures) {
    picture = {};
    picture.format = static_cast<pvlr::PixelFormat>(read_int(input));
    picture.matrix = static_cast<pvlr::YuvMatrix>(read_int(input));
    picture.range = static_cast<pvlr::YuvRange>(read_int(input));
    picture.width = read_int(input);
    picture.height = read_int(input);
    picture.crop = read_rectangle(input);
    picture.region = read_rectangle(input);
    const std::int32_t planes = read_int(input);
    for (std::int32_t i = 0; i < planes; ++i) {
      picture.pitches[i] = read_int(input);
      const std::int32_t offset = read_int(input);
      Bytes buffer(static_cast<std::size_t>(read_int(input)));
      read(input, buffer.data(), buffer.size());
      buffers.push_back(std::move(buffer));
      picture.planes[i] = buffers.back().data() + offset;
    }
  }
  std::fclose(input);
  p.pictures = pictures.data();
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
