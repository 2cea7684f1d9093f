// The C interface: checks what comes from outside, and turns exceptions into codes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>

#include "error.h"
#include "host/preprocess/formats.h"
#include "pvlr/pvlr.h"
#include "tagger.h"

using namespace pvlr;
using pvlr::runtime::fail;
using pvlr::runtime::guarded;
using pvlr::runtime::InputFrame;
using pvlr::runtime::Job;
using pvlr::runtime::Tagger;
using pvlr::runtime::TaggerOptions;

struct pvlr_tagger {
  std::shared_ptr<Tagger> shared;
};

namespace {

constexpr std::size_t kMaxStructSize = 4096;
// The sizes of a struct in earlier versions of the interface, where later ones have appended members.
template <typename T>
constexpr std::array<std::size_t, 2> kEarlierSizes{sizeof(T), sizeof(T)};
template <>
constexpr std::array<std::size_t, 2> kEarlierSizes<pvlr_options>{offsetof(pvlr_options, trust),
                                                                 offsetof(pvlr_options, tile_columns)};
template <>
constexpr std::array<std::size_t, 2> kEarlierSizes<pvlr_frame>{offsetof(pvlr_frame, memory), sizeof(pvlr_frame)};
template <>
constexpr std::array<std::size_t, 2> kEarlierSizes<pvlr_result>{offsetof(pvlr_result, labels), sizeof(pvlr_result)};

[[noreturn]] void refuse(const std::string& argument, const std::string& expected, const std::string& got) {
  fail(PVLR_ERROR_INVALID_ARGUMENT, argument, expected, got);
}

void check_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) refuse(name, "a pointer", "null");
}

// The size of a caller's struct, which is that of a version of the interface: no member is there in part.
template <typename T>
std::size_t checked_size(const T* given, const std::string& name) {
  check_pointer(given, name.c_str());
  const std::size_t size = given->struct_size;
  const auto& earlier = kEarlierSizes<T>;
  const bool known = size >= sizeof(T) || std::find(earlier.begin(), earlier.end(), size) != earlier.end();
  if (!known || size > kMaxStructSize) {
    refuse(name + ".struct_size", std::to_string(sizeof(T)), std::to_string(size));
  }
  return size;
}

// A copy of a caller's struct. One of an earlier version is smaller. One of a later version may be larger, with zeros
// where this version knows no member.
template <typename T>
T read_struct(const T* given, const std::string& name) {
  const std::size_t size = checked_size(given, name);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  const std::size_t known = std::min(size, sizeof(T));
  if (std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; })) {
    refuse(name, std::string("members that libpvlr ") + pvlr_version() + " knows", "others");
  }
  T copy{};
  std::memcpy(&copy, given, known);
  return copy;
}

// Fills a caller's struct; what a later version appended to it stays as it is.
template <typename T>
void write_struct(T* given, const std::string& name, T value) {
  value.struct_size = checked_size(given, name);
  std::memcpy(given, &value, std::min(value.struct_size, sizeof(T)));
}

void check_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most, const char* kind = "") {
  if (value >= least && value <= most) return;
  const std::string range = std::to_string(least) + " to " + std::to_string(most);
  refuse(name, *kind == '\0' ? range : kind, std::to_string(value));
}

// One of the values of an option; `otherwise` if it is not set.
std::string read_choice(const char* name, const char* given, const char* otherwise,
                        std::initializer_list<const char*> known) {
  if (given == nullptr) return otherwise;
  const std::string value(given, strnlen(given, 16));
  if (std::find(known.begin(), known.end(), value) != known.end()) return value;
  std::string expected;
  for (const char* const one : known) expected += (expected.empty() ? "" : ", ") + std::string(one);
  refuse(name, "one of " + expected, "'" + value + "'");
}

TaggerOptions read_options(const pvlr_options* given) {
  TaggerOptions options{};
  const pvlr_options read = given == nullptr ? pvlr_options{} : read_struct(given, "options");
  options.engine.precision =
      read_choice("options.precision", read.precision, "", {"auto", "fp32", "fp16", "bf16", "int8"});
  options.device = read_choice("options.device", read.device, "auto", {"auto", "cpu", "tensorrt"});
  check_range("options.optimize", read.optimize, 0, PVLR_OPTIMIZE_THROUGHPUT);
  check_range("options.threads", read.threads, 0, 1024);
  check_range("options.operating_point", read.operating_point, 0, PVLR_OPERATING_POINT_PRECISE);
  check_range("options.allow_unsigned", read.allow_unsigned, 0, 1);
  if (!(read.threshold >= 0 && read.threshold <= 1)) {
    refuse("options.threshold", "0 to 1", std::to_string(read.threshold));
  }
  options.engine.throughput = read.optimize == PVLR_OPTIMIZE_THROUGHPUT;
  options.engine.threads = read.threads;
  options.engine.allow_unsigned = read.allow_unsigned != 0;
  options.precise = read.operating_point == PVLR_OPERATING_POINT_PRECISE;
  options.threshold = read.threshold;
  const bool automatic = read.tile_columns == PVLR_TILES_AUTO && read.tile_rows == 0;
  if (!automatic) {
    check_range("options.tile_columns", read.tile_columns, 0, runtime::kMaxTiles);
    check_range("options.tile_rows", read.tile_rows, 0, runtime::kMaxTiles);
    options.tiles = {std::max(read.tile_columns, 1), std::max(read.tile_rows, 1)};
    check_range("options.tile_columns * options.tile_rows", options.tiles.count(), 1, runtime::kMaxTiles);
  }
  const char* const keys = read.trust != nullptr ? read.trust : std::getenv("PVLR_TRUST");
  if (keys != nullptr && *keys != '\0') options.trust = keys;
  return options;
}

void check_pitch(int plane, std::int64_t pitch, std::int64_t least) {
  const bool in_range = pitch <= kMaxPitch && pitch >= -kMaxPitch;
  if (in_range && (pitch < 0 ? -pitch : pitch) >= least) return;
  const std::string expected = in_range ? "at least " + std::to_string(least) : "at most " + std::to_string(kMaxPitch);
  refuse("frame.pitches[" + std::to_string(plane) + "]", expected + " bytes per row", std::to_string(pitch));
}

// Rows that wrapped around the end of the address space would be read at other places.
void check_addresses(int plane, const void* top, std::int64_t pitch, std::int64_t rows, std::int64_t bytes) {
  const auto first = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(top));
  const auto span = static_cast<std::uint64_t>((rows - 1) * (pitch < 0 ? -pitch : pitch));  // less than 2^44
  const std::uint64_t behind = static_cast<std::uint64_t>(bytes) + (pitch < 0 ? 0 : span);
  if ((pitch >= 0 || span < first) && behind <= UINTPTR_MAX - first) return;
  refuse("frame.planes[" + std::to_string(plane) + "]", "rows within the address space",
         "one beyond its end, with a pitch of " + std::to_string(pitch));
}

// The whole of a frame as preprocessing reads it; its region is still zero.
InputFrame checked_frame(const pvlr_frame& frame) {
  InputFrame checked{};
  check_range("frame.format", frame.format, PVLR_FORMAT_BGR, PVLR_FORMAT_I420, "a pvlr_format");
  constexpr PixelFormat kFormats[] = {PixelFormat::kBgr,  PixelFormat::kRgb,  PixelFormat::kBgra, PixelFormat::kRgba,
                                      PixelFormat::kGray, PixelFormat::kNv12, PixelFormat::kI420};
  checked.format = kFormats[frame.format - PVLR_FORMAT_BGR];
  if (is_yuv(checked.format)) {
    check_range("frame.matrix", frame.matrix, PVLR_MATRIX_BT601, PVLR_MATRIX_BT709, "a pvlr_matrix");
    check_range("frame.range", frame.range, PVLR_RANGE_LIMITED, PVLR_RANGE_FULL, "a pvlr_range");
    checked.matrix = frame.matrix == PVLR_MATRIX_BT601 ? YuvMatrix::kBt601 : YuvMatrix::kBt709;
    checked.range = frame.range == PVLR_RANGE_LIMITED ? YuvRange::kLimited : YuvRange::kFull;
  }
  check_range("frame.width", frame.width, 1, kMaxBatchSide, "1 to 16384 pixels");
  check_range("frame.height", frame.height, 1, kMaxBatchSide, "1 to 16384 pixels");
  check_range("frame.memory", frame.memory, PVLR_MEMORY_HOST, PVLR_MEMORY_CUDA, "a pvlr_memory");
  checked.on_device = frame.memory == PVLR_MEMORY_CUDA;
  checked.stream = frame.stream;
  checked.width = frame.width;
  checked.height = frame.height;
  checked.crop = {0, 0, frame.width, frame.height};
  for (int i = 0; i < plane_count(checked.format); ++i) {
    if (frame.planes[i] == nullptr) refuse("frame.planes[" + std::to_string(i) + "]", "a plane of the format", "null");
    const std::int64_t bytes = row_bytes(checked.format, frame.width, i);
    check_pitch(i, frame.pitches[i], bytes);
    check_addresses(i, frame.planes[i], frame.pitches[i], i == 0 ? frame.height : (frame.height + 1) / 2, bytes);
    checked.planes[i] = static_cast<const std::uint8_t*>(frame.planes[i]);
    checked.pitches[i] = frame.pitches[i];
  }
  return checked;
}

// A pvlr_job is a Job.
Job* job_of(pvlr_job* job) {
  check_pointer(job, "job");
  return reinterpret_cast<Job*>(job);
}

pvlr_status wait_for(pvlr_job* job, std::chrono::milliseconds timeout, pvlr_result* result) {
  return guarded([=] {
    Job* const running = job_of(job);
    checked_size(result, "result");
    if (timeout != runtime::kForever) check_range("timeout_ms", timeout.count(), 0, INT32_MAX);
    if (!running->finish(timeout)) fail(PVLR_ERROR_TIMEOUT, "job", "a result within the timeout", "none");
    write_struct(result, "result", running->result());
  });
}

}  // namespace

const char* pvlr_version(void) { return PVLR_VERSION; }

const char* pvlr_last_error(void) { return pvlr::runtime::last_error(); }

pvlr_status pvlr_open(const char* plan, const pvlr_options* options, pvlr_tagger** tagger) {
  return guarded([=] {
    check_pointer(tagger, "tagger");
    *tagger = nullptr;
    check_pointer(plan, "plan");
    if (*plan == '\0') refuse("plan", "the path of a plan", "an empty text");
    *tagger = new pvlr_tagger{Tagger::open(plan, read_options(options))};
  });
}

void pvlr_close(pvlr_tagger* tagger) { delete tagger; }

pvlr_status pvlr_get_info(const pvlr_tagger* tagger, pvlr_info* info) {
  return guarded([=] {
    check_pointer(tagger, "tagger");
    write_struct(info, "info", tagger->shared->info());
  });
}

pvlr_status pvlr_set_labels(pvlr_tagger* tagger, const char* bank) {
  return guarded([=] {
    check_pointer(tagger, "tagger");
    check_pointer(bank, "bank");
    tagger->shared->set_labels(bank);
  });
}

pvlr_status pvlr_submit(pvlr_tagger* tagger, const pvlr_frame* frame, pvlr_job** job) {
  return guarded([=] {
    check_pointer(job, "job");
    *job = nullptr;
    check_pointer(tagger, "tagger");
    const InputFrame checked = checked_frame(read_struct(frame, "frame"));
    *job = reinterpret_cast<pvlr_job*>(tagger->shared->submit(checked));
  });
}

pvlr_status pvlr_wait(pvlr_job* job, pvlr_result* result) { return wait_for(job, pvlr::runtime::kForever, result); }

pvlr_status pvlr_wait_for(pvlr_job* job, int64_t timeout_ms, pvlr_result* result) {
  return wait_for(job, std::chrono::milliseconds(timeout_ms), result);
}

pvlr_status pvlr_map(pvlr_job* job, size_t label, float* map, size_t capacity) {
  return guarded([=] {
    Job* const running = job_of(job);
    const std::size_t labels = running->result().label_count;
    if (label >= labels) refuse("label", "less than " + std::to_string(labels), std::to_string(label));
    check_pointer(map, "map");
    if (capacity < running->map_size()) {
      refuse("capacity", "at least " + std::to_string(running->map_size()) + " floats", std::to_string(capacity));
    }
    running->finish();
    running->map(label, map);
  });
}

void pvlr_release(pvlr_job* job) {
  if (job != nullptr) Tagger::recycle(reinterpret_cast<Job*>(job));
}
