// A fuzz target for frames, through the C interface: any description is refused with an error that names one of its
// invalid members, or is valid, and then is read within its planes, which have no spare bytes. PVLR_FUZZ_PLAN is the
// plan. test_fuzz.py builds it with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pvlr/pvlr.h"

namespace {

constexpr std::int64_t kMostBytes = 1 << 20;  // of a plane

pvlr_tagger* tagger = nullptr;
pvlr_info info{};

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: expected %s; the last error is '%s'\n", what, pvlr_last_error());
  std::abort();
}

int planes_of(std::int32_t format) { return format == PVLR_FORMAT_I420 ? 3 : format == PVLR_FORMAT_NV12 ? 2 : 1; }

std::int64_t row_bytes(const pvlr_frame& frame, int plane) {
  const std::int64_t width = frame.width;
  if (plane > 0) return (width + 1) / 2 * (frame.format == PVLR_FORMAT_NV12 ? 2 : 1);
  if (frame.format == PVLR_FORMAT_BGR || frame.format == PVLR_FORMAT_RGB) return 3 * width;
  return frame.format == PVLR_FORMAT_BGRA || frame.format == PVLR_FORMAT_RGBA ? 4 * width : width;
}

std::int64_t rows_of(const pvlr_frame& frame, int plane) {
  return plane == 0 ? frame.height : (std::int64_t{frame.height} + 1) / 2;
}

// A number near a limit, or any.
template <typename Number>
Number any_number(FuzzedDataProvider* input) {
  static const Number kLimits[] = {0,
                                   1,
                                   -1,
                                   16384,
                                   16385,
                                   1 << 30,
                                   (1 << 30) + 1,
                                   INT32_MAX,
                                   INT32_MIN,
                                   std::numeric_limits<Number>::min(),
                                   std::numeric_limits<Number>::max(),
                                   static_cast<Number>(std::int64_t{1} << 31),
                                   static_cast<Number>(std::int64_t{1} << 32)};
  return input->ConsumeBool() ? input->PickValueInArray(kLimits) : input->ConsumeIntegral<Number>();
}

// A frame in the memory of a larger struct, as a later version of the library may have.
union Storage {
  pvlr_frame frame;
  unsigned char bytes[4200];
};

struct Input {
  Storage storage{};
  std::vector<std::unique_ptr<unsigned char[]>> planes;  // of exactly the bytes that the frame has
  std::set<std::string> faults;                          // the invalid members
  bool is_backed = true;                                 // whether all planes of a valid frame are there
};

void check_struct(Input* input) {
  const std::size_t size = input->storage.frame.struct_size;
  if (size == offsetof(pvlr_frame, memory)) return;  // before version 4
  if (size < sizeof(pvlr_frame) || size > 4096) {
    input->faults.insert("frame.struct_size");
    return;
  }
  const auto* const begin = input->storage.bytes;
  const bool known =
      std::all_of(begin + sizeof(pvlr_frame), begin + size, [](unsigned char byte) { return byte == 0; });
  if (!known) input->faults.insert("frame");
}

void check_members(Input* input) {
  const pvlr_frame& frame = input->storage.frame;
  const auto check = [&](bool valid, const char* member) {
    if (!valid) input->faults.insert(std::string("frame.") + member);
  };
  check(frame.format >= PVLR_FORMAT_BGR && frame.format <= PVLR_FORMAT_I420, "format");
  check(frame.width >= 1 && frame.width <= 16384, "width");
  check(frame.height >= 1 && frame.height <= 16384, "height");
  if (planes_of(frame.format) == 1) return;
  check(frame.matrix == PVLR_MATRIX_BT601 || frame.matrix == PVLR_MATRIX_BT709, "matrix");
  check(frame.range == PVLR_RANGE_LIMITED || frame.range == PVLR_RANGE_FULL, "range");
}

// Chooses the pitch of a plane, and its pointer. Planes that must not be read have a single byte.
void make_plane(FuzzedDataProvider* data, Input* input, int plane) {
  pvlr_frame& frame = input->storage.frame;
  const std::string index = "[" + std::to_string(plane) + "]";
  const std::int64_t row = row_bytes(frame, plane);
  std::int64_t pitch = row + data->ConsumeIntegralInRange<std::int64_t>(-2, 9);
  if (data->ConsumeIntegralInRange(0, 7) == 0) pitch = any_number<std::int64_t>(data);
  if (data->ConsumeBool() && pitch != INT64_MIN) pitch = -pitch;
  frame.pitches[plane] = pitch;
  const bool in_range = pitch >= -(std::int64_t{1} << 30) && pitch <= std::int64_t{1} << 30;
  if (!in_range || std::abs(pitch) < row) input->faults.insert("frame.pitches" + index);

  const int kind = data->ConsumeIntegralInRange(0, 15);
  if (kind == 0) {  // null
    input->faults.insert("frame.planes" + index);
    return;
  }
  if (kind == 1) {  // an address that is nobody's
    const auto distance = data->ConsumeIntegralInRange<std::uintptr_t>(0, 1 << 20);
    const std::uintptr_t address = data->ConsumeBool() ? 1 + distance : UINTPTR_MAX - distance;
    frame.planes[plane] = reinterpret_cast<const void*>(address);
    input->is_backed = false;
    const __int128 bottom = static_cast<__int128>(address) + static_cast<__int128>(rows_of(frame, plane) - 1) * pitch;
    const __int128 end = std::max<__int128>(bottom, address) + row;
    if (bottom < 1 || end > UINTPTR_MAX) input->faults.insert("frame.planes" + index);
    return;
  }
  const bool is_read = input->faults.empty();
  const std::int64_t bytes = is_read ? (rows_of(frame, plane) - 1) * std::abs(pitch) + row : 1;
  if (bytes > kMostBytes) input->is_backed = false;
  const auto size = static_cast<std::size_t>(std::min(bytes, kMostBytes));
  input->planes.emplace_back(new unsigned char[size]);
  unsigned char* const begin = input->planes.back().get();
  std::fill(begin, begin + size, data->ConsumeIntegral<unsigned char>());
  frame.planes[plane] = is_read && pitch < 0 ? begin + size - row : begin;
}

void make_planes(FuzzedDataProvider* data, Input* input) {
  pvlr_frame& frame = input->storage.frame;
  const int count = planes_of(frame.format);
  for (int i = count; i < 3; ++i) {  // not read, whatever they are
    frame.planes[i] = reinterpret_cast<const void*>(data->ConsumeIntegral<std::uintptr_t>());
    frame.pitches[i] = data->ConsumeIntegral<std::int64_t>();
  }
  const bool same = count == 3 && data->ConsumeBool();  // planes may overlap
  for (int i = 0; i < (same ? 2 : count); ++i) make_plane(data, input, i);
  if (same) {
    frame.planes[2] = frame.planes[1];
    frame.pitches[2] = frame.pitches[1];
  }
}

void make_frame(FuzzedDataProvider* data, Input* input) {
  const auto rarely = [data] { return data->ConsumeIntegralInRange(0, 15) == 0; };
  pvlr_frame& frame = input->storage.frame;
  frame.struct_size = sizeof frame;
  if (rarely()) frame.struct_size = data->ConsumeIntegralInRange<std::size_t>(0, 4100);
  if (rarely()) frame.struct_size = data->ConsumeIntegral<std::size_t>();
  if (rarely()) input->storage.bytes[data->ConsumeIntegralInRange<std::size_t>(sizeof frame, 4199)] = 1;
  frame.format = rarely() ? any_number<std::int32_t>(data) : data->ConsumeIntegralInRange(0, 8);
  frame.matrix = rarely() ? any_number<std::int32_t>(data) : data->ConsumeIntegralInRange(0, 1);
  frame.range = rarely() ? any_number<std::int32_t>(data) : data->ConsumeIntegralInRange(0, 1);
  frame.width = rarely() ? any_number<std::int32_t>(data) : data->ConsumeIntegralInRange(1, 50);
  frame.height = rarely() ? any_number<std::int32_t>(data) : data->ConsumeIntegralInRange(1, 50);
  check_struct(input);
  check_members(input);
  make_planes(data, input);
}

void check_result(pvlr_job* job) {
  pvlr_result result{};
  result.struct_size = sizeof result;
  const pvlr_status status = pvlr_wait(job, &result);
  if (status == PVLR_ERROR_RUNTIME || status == PVLR_ERROR_NON_FINITE) return;  // the colours of engine.cpp
  expect(status == PVLR_OK && result.label_count == info.label_count, "a result");
  for (std::size_t i = 0; i < result.label_count; ++i)
    expect(result.scores[i] >= 0 && result.scores[i] <= 1, "a score");
  std::vector<float> map(static_cast<std::size_t>(info.map_rows * info.map_columns));
  expect(pvlr_map(job, 0, map.data(), map.size()) == PVLR_OK, "a map");
  double sum = 0;
  for (const float weight : map) sum += weight;
  expect(std::abs(sum - 1) < 1e-4, "a map that sums to 1");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  info.struct_size = sizeof info;
  expect(pvlr_open(std::getenv("PVLR_FUZZ_PLAN"), nullptr, &tagger) == PVLR_OK, "an open plan");
  expect(pvlr_get_info(tagger, &info) == PVLR_OK, "its description");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  Input input;
  make_frame(&data, &input);
  if (input.faults.empty() && !input.is_backed) return 0;  // valid, but of memory that is not there
  pvlr_job* job = reinterpret_cast<pvlr_job*>(&input);
  const pvlr_status status = pvlr_submit(tagger, &input.storage.frame, &job);
  if (status == PVLR_ERROR_INVALID_ARGUMENT) {
    const std::string message = pvlr_last_error();
    expect(input.faults.count(message.substr(0, message.find(':'))) != 0, "a message that names an invalid member");
    expect(job == nullptr, "a null pointer");
    return 0;
  }
  if (!input.faults.empty()) expect(false, ("an error that names " + *input.faults.begin()).c_str());
  expect(status == PVLR_OK || status == PVLR_ERROR_RUNTIME, "an accepted frame");
  if (status == PVLR_OK) check_result(job);
  pvlr_release(job);
  return 0;
}
