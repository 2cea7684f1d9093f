// Times libpvlr for benchmarks.cpu.native: native PLAN THREADS PIXELS WIDTH HEIGHT
//
// Reads a frame of packed BGR pixels into memory, and prints its scores. Then it reads a number of frames from each
// line of stdin, tags the frame so often, and prints the milliseconds of each time.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <pvlr/pvlr.hpp>
#include <vector>

namespace {

// As Tagger.predict: waits for the tags.
double milliseconds(const pvlr::Tagger& tagger, const pvlr_frame& frame) {
  const auto began = std::chrono::steady_clock::now();
  {
    pvlr::Job job = tagger.submit(frame);
    job.tags();
  }
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    auto options = pvlr::make<pvlr_options>();
    options.threads = std::atoi(argv[2]);
    const pvlr::Tagger tagger(argv[1], options);
    std::ifstream file(argv[3], std::ios::binary);
    const std::vector<char> pixels{std::istreambuf_iterator<char>(file), {}};
    const int width = std::atoi(argv[4]);
    const int height = std::atoi(argv[5]);
    if (pixels.size() != std::size_t{3} * width * height) return 2;
    const pvlr_frame frame = pvlr::packed_frame(PVLR_FORMAT_BGR, width, height, pixels.data());

    pvlr::Job job = tagger.submit(frame);
    const pvlr_result result = job.wait();
    for (std::size_t i = 0; i < result.label_count; ++i) std::printf("%.9g ", result.scores[i]);
    std::puts("");
    std::fflush(stdout);
    for (int count = 0; std::cin >> count;) {
      for (int i = 0; i < count; ++i) std::printf("%.6f ", milliseconds(tagger, frame));
      std::puts("");
      std::fflush(stdout);
    }
    return 0;
  } catch (const pvlr::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
