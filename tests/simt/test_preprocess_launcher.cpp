// What the launcher of the batch's preprocessing refuses, and that the message names the argument; the host's twin does
// the same.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>

#include "block.h"
#include "pvlr/preprocess_batch.h"

namespace {

using pvlr::BatchPicture;
using pvlr::PixelFormat;
using pvlr::PreprocessBatchParams;
int failures = 0;

void expect(bool condition, const char* what, const char* got = "") {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s %s\n", what, got);
}

unsigned char planes[3][64 * 64];
alignas(16) float output[2 * 3 * 8 * 8 + 1];

BatchPicture good_picture() {
  BatchPicture picture{};
  for (int i = 0; i < 3; ++i) {
    picture.planes[i] = planes[i];
    picture.pitches[i] = 40;
  }
  picture.width = 9;
  picture.height = 7;
  picture.format = PixelFormat::kRgba;
  picture.crop = {1, 2, 8, 5};
  picture.region = {0, 1, 8, 7};
  return picture;
}

}  // namespace

int main() {
  const struct {
    const char* name;
    std::function<void(PreprocessBatchParams&, BatchPicture&)> spoil;
  } cases[] = {
      {"pictures", [](PreprocessBatchParams& p, BatchPicture&) { p.pictures = nullptr; }},
      {"count", [](PreprocessBatchParams& p, BatchPicture&) { p.count = 0; }},
      {"count", [](PreprocessBatchParams& p, BatchPicture&) { p.count = std::int64_t{1} << 40; }},
      {"type", [](PreprocessBatchParams& p, BatchPicture&) { p.type = static_cast<pvlr::DataType>(3); }},
      {"dst", [](PreprocessBatchParams& p, BatchPicture&) { p.dst = nullptr; }},
      {"dst", [](PreprocessBatchParams& p, BatchPicture&) { p.dst = reinterpret_cast<char*>(output) + 2; }},
      {"dst_width", [](PreprocessBatchParams& p, BatchPicture&) { p.dst_width = 0; }},
      {"dst_height", [](PreprocessBatchParams& p, BatchPicture&) { p.dst_height = 16385; }},
      {"threads", [](PreprocessBatchParams& p, BatchPicture&) { p.threads = -1; }},
      {"scale", [](PreprocessBatchParams& p, BatchPicture&) { p.scale[1] = NAN; }},
      {"bias", [](PreprocessBatchParams& p, BatchPicture&) { p.bias[2] = INFINITY; }},
      {"pad", [](PreprocessBatchParams& p, BatchPicture&) { p.pad[0] = NAN; }},
      {"width", [](PreprocessBatchParams&, BatchPicture& b) { b.width = 16385; }},
      {"height", [](PreprocessBatchParams&, BatchPicture& b) { b.height = -1; }},
      {"format", [](PreprocessBatchParams&, BatchPicture& b) { b.format = static_cast<PixelFormat>(7); }},
      {"matrix",
       [](PreprocessBatchParams&, BatchPicture& b) {
         b.format = PixelFormat::kNv12;
         b.matrix = static_cast<pvlr::YuvMatrix>(2);
       }},
      {"range",
       [](PreprocessBatchParams&, BatchPicture& b) {
         b.format = PixelFormat::kI420;
         b.range = static_cast<pvlr::YuvRange>(-1);
       }},
      {"planes", [](PreprocessBatchParams&, BatchPicture& b) { b.planes[0] = nullptr; }},
      {"planes",
       [](PreprocessBatchParams&, BatchPicture& b) {
         b.format = PixelFormat::kI420;
         b.planes[2] = nullptr;
       }},
      {"pitches", [](PreprocessBatchParams&, BatchPicture& b) { b.pitches[0] = 35; }},
      {"pitches", [](PreprocessBatchParams&, BatchPicture& b) { b.pitches[0] = INT64_MIN; }},
      {"pitches",
       [](PreprocessBatchParams&, BatchPicture& b) {
         b.format = PixelFormat::kNv12;
         b.pitches[1] = 9;  // five pairs take ten
       }},
      {"crop", [](PreprocessBatchParams&, BatchPicture& b) { b.crop.left = 2; }},
      {"crop", [](PreprocessBatchParams&, BatchPicture& b) { b.crop.height = 0; }},
      {"crop", [](PreprocessBatchParams&, BatchPicture& b) { b.crop.top = -1; }},
      {"region", [](PreprocessBatchParams&, BatchPicture& b) { b.region.width = INT32_MAX; }},
      {"region", [](PreprocessBatchParams&, BatchPicture& b) { b.region.top = 2; }},
  };
  for (const auto launcher : {&pvlr::preprocess_batch_host, +[](const PreprocessBatchParams& p) {
                                return pvlr::preprocess_batch_cuda(p, nullptr);
                              }}) {
    const auto call = [&](const auto& spoil) {
      BatchPicture pictures[2] = {good_picture(), good_picture()};
      PreprocessBatchParams p{};
      p.pictures = pictures;
      p.count = 2;
      p.dst = output;
      p.dst_width = p.dst_height = 8;
      spoil(p, pictures[1]);
      return launcher(p);
    };
    expect(call([](PreprocessBatchParams&, BatchPicture&) {}).ok(), "good arguments are taken");
    expect(call([](PreprocessBatchParams&, BatchPicture& b) { b.planes[1] = b.planes[2] = nullptr; }).ok(),
           "planes that the format lacks may be null");
    simt::device.refuses = true;
    const pvlr::Status refused = call([](PreprocessBatchParams&, BatchPicture&) {});
    const auto expected =
        launcher == &pvlr::preprocess_batch_host ? pvlr::StatusCode::kOk : pvlr::StatusCode::kLaunchFailed;
    expect(refused.code == expected, "a refused launch", refused.message);
    simt::device.refuses = false;
    for (const auto& one : cases) {
      const pvlr::Status status = call(one.spoil);
      const std::size_t length = std::strlen(one.name);
      expect(status.code == pvlr::StatusCode::kInvalidArgument, one.name, status.message);
      expect(std::strncmp(status.message, one.name, length) == 0 && status.message[length] == ':', one.name,
             status.message);
    }
  }
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
