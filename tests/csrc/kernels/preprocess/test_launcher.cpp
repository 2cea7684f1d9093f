// The launcher of batch preprocessing and the CPU version refuse the same arguments, with messages that name them.
#include <cmath>
#include <functional>

#include "../launcher_checks.h"
#include "emulator/block.h"
#include "pvlr/preprocess.h"

namespace {

using pvlr::BatchFrame;
using pvlr::PixelFormat;
using pvlr::PreprocessBatchParams;
unsigned char planes[3][64 * 64];
alignas(16) float output[2 * 3 * 8 * 8 + 1];

BatchFrame good_frame() {
  BatchFrame frame{};
  for (int i = 0; i < 3; ++i) {
    frame.planes[i] = planes[i];
    frame.pitches[i] = 40;
  }
  frame.width = 9;
  frame.height = 7;
  frame.format = PixelFormat::kRgba;
  frame.crop = {1, 2, 8, 5};
  frame.region = {0, 1, 8, 7};
  return frame;
}

}  // namespace

int main() {
  const struct {
    const char* name;
    std::function<void(PreprocessBatchParams&, BatchFrame&)> spoil;
  } cases[] = {
      {"frames", [](PreprocessBatchParams& p, BatchFrame&) { p.frames = nullptr; }},
      {"count", [](PreprocessBatchParams& p, BatchFrame&) { p.count = 0; }},
      {"count", [](PreprocessBatchParams& p, BatchFrame&) { p.count = std::int64_t{1} << 40; }},
      {"type", [](PreprocessBatchParams& p, BatchFrame&) { p.type = static_cast<pvlr::DataType>(3); }},
      {"dst", [](PreprocessBatchParams& p, BatchFrame&) { p.dst = nullptr; }},
      {"dst", [](PreprocessBatchParams& p, BatchFrame&) { p.dst = reinterpret_cast<char*>(output) + 2; }},
      {"dst_width", [](PreprocessBatchParams& p, BatchFrame&) { p.dst_width = 0; }},
      {"dst_height", [](PreprocessBatchParams& p, BatchFrame&) { p.dst_height = (1 << 20) + 1; }},
      {"threads", [](PreprocessBatchParams& p, BatchFrame&) { p.threads = -1; }},
      {"scale", [](PreprocessBatchParams& p, BatchFrame&) { p.normalisation.scale[1] = NAN; }},
      {"bias", [](PreprocessBatchParams& p, BatchFrame&) { p.normalisation.bias[2] = INFINITY; }},
      {"pad", [](PreprocessBatchParams& p, BatchFrame&) { p.normalisation.pad[0] = NAN; }},
      {"width", [](PreprocessBatchParams&, BatchFrame& b) { b.width = (1 << 20) + 1; }},
      {"height", [](PreprocessBatchParams&, BatchFrame& b) { b.height = -1; }},
      {"format", [](PreprocessBatchParams&, BatchFrame& b) { b.format = static_cast<PixelFormat>(7); }},
      {"matrix",
       [](PreprocessBatchParams&, BatchFrame& b) {
         b.format = PixelFormat::kNv12;
         b.matrix = static_cast<pvlr::YuvMatrix>(2);
       }},
      {"range",
       [](PreprocessBatchParams&, BatchFrame& b) {
         b.format = PixelFormat::kI420;
         b.range = static_cast<pvlr::YuvRange>(-1);
       }},
      {"planes", [](PreprocessBatchParams&, BatchFrame& b) { b.planes[0] = nullptr; }},
      {"planes",
       [](PreprocessBatchParams&, BatchFrame& b) {
         b.format = PixelFormat::kI420;
         b.planes[2] = nullptr;
       }},
      {"pitches", [](PreprocessBatchParams&, BatchFrame& b) { b.pitches[0] = 35; }},
      {"pitches", [](PreprocessBatchParams&, BatchFrame& b) { b.pitches[0] = INT64_MIN; }},
      {"pitches",
       [](PreprocessBatchParams&, BatchFrame& b) {
         b.format = PixelFormat::kNv12;
         b.pitches[1] = 9;  // five pairs take ten
       }},
      {"crop", [](PreprocessBatchParams&, BatchFrame& b) { b.crop.left = 2; }},
      {"crop", [](PreprocessBatchParams&, BatchFrame& b) { b.crop.height = 0; }},
      {"crop", [](PreprocessBatchParams&, BatchFrame& b) { b.crop.top = -1; }},
      {"region", [](PreprocessBatchParams&, BatchFrame& b) { b.region.width = INT32_MAX; }},
      {"region", [](PreprocessBatchParams&, BatchFrame& b) { b.region.top = 2; }},
  };
  for (const auto launcher : {&pvlr::preprocess_batch_host, +[](const PreprocessBatchParams& p) {
                                return pvlr::preprocess_batch_cuda(p, nullptr);
                              }}) {
    const auto call = [&](const auto& spoil) {
      BatchFrame frames[2] = {good_frame(), good_frame()};
      PreprocessBatchParams p{};
      p.frames = frames;
      p.count = 2;
      p.dst = output;
      p.dst_width = p.dst_height = 8;
      spoil(p, frames[1]);
      return launcher(p);
    };
    expect(call([](PreprocessBatchParams&, BatchFrame&) {}).ok(), "good arguments are taken");
    expect(call([](PreprocessBatchParams&, BatchFrame& b) { b.planes[1] = b.planes[2] = nullptr; }).ok(),
           "planes that the format lacks may be null");
    simt::device.refuses = true;
    const pvlr::Status refused = call([](PreprocessBatchParams&, BatchFrame&) {});
    const auto expected =
        launcher == &pvlr::preprocess_batch_host ? pvlr::StatusCode::kOk : pvlr::StatusCode::kLaunchFailed;
    expect(refused.code == expected, "a refused launch", refused.message);
    simt::device.refuses = false;
    for (const auto& one : cases) {
      expect_refused(call(one.spoil), pvlr::StatusCode::kInvalidArgument, one.name);
    }
  }
  // What only the CPU takes.
  BatchFrame wide = good_frame();
  wide.width = 16385;
  wide.pitches[0] = 4 * 16385;
  BatchFrame frame = good_frame();
  PreprocessBatchParams p{};
  p.frames = &wide;
  p.count = 1;
  p.dst = output;
  p.dst_width = p.dst_height = 8;
  expect_refused(pvlr::preprocess_batch_cuda(p, nullptr), pvlr::StatusCode::kInvalidArgument, "width");
  p.frames = &frame;
  p.channels_last = true;
  expect_refused(pvlr::preprocess_batch_cuda(p, nullptr), pvlr::StatusCode::kInvalidArgument, "channels_last");
  return result();
}
