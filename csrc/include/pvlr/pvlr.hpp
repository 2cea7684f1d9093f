// C++ on top of pvlr.h, which explains everything: objects that close themselves, and exceptions. Header only.
//
//   const pvlr::Tagger tagger("engine.plan");
//   pvlr::Job job = tagger.submit(pvlr::packed_frame(PVLR_FORMAT_BGR, 1920, 1080, pixels));
//   for (const pvlr_tag& tag : job.tags()) std::cout << tag.label << ' ' << tag.score << '\n';
#pragma once

#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "pvlr/pvlr.h"

namespace pvlr {

class Error : public std::runtime_error {
 public:
  explicit Error(pvlr_status code) : std::runtime_error(pvlr_last_error()), code_(code) {}

  pvlr_status code() const noexcept { return code_; }

 private:
  pvlr_status code_;
};

inline void check(pvlr_status status) {
  if (status != PVLR_OK) throw Error(status);
}

// One of the structs of pvlr.h, all zero except for its size.
template <typename Struct>
Struct make() {
  Struct made{};
  made.struct_size = sizeof made;
  return made;
}

// Sets the tiles of a frame from columns x rows, such as "3x2", "auto", or "" for none.
inline void set_tiles(const std::string& text, pvlr_options* options) {
  int read = 0;
  options->tile_columns = text == "auto" ? PVLR_TILES_AUTO : 0;
  options->tile_rows = 0;
  if (text.empty() || text == "auto") return;
  std::sscanf(text.c_str(), "%4dx%4d%n", &options->tile_columns, &options->tile_rows, &read);
  const bool positive = options->tile_columns > 0 && options->tile_rows > 0;
  if (positive && static_cast<std::size_t>(read) == text.size()) return;
  throw std::invalid_argument("tiles: expected columns x rows, such as 3x2, or auto, got \"" + text + "\"");
}

// A frame of BGR, RGB, BGRA, RGBA or grey pixels without gaps between the rows.
inline pvlr_frame packed_frame(pvlr_format format, int width, int height, const void* pixels) {
  const int bytes = format == PVLR_FORMAT_GRAY ? 1 : format == PVLR_FORMAT_BGR || format == PVLR_FORMAT_RGB ? 3 : 4;
  auto frame = make<pvlr_frame>();
  frame.format = format;
  frame.width = width;
  frame.height = height;
  frame.planes[0] = pixels;
  frame.pitches[0] = std::int64_t{bytes} * width;
  return frame;
}

class Job {
 public:
  Job(pvlr_job* job, std::size_t map_size) : job_(job), map_size_(map_size) {}

  // Waits. The pointers in the result are valid as long as the job.
  pvlr_result wait() & {
    auto result = make<pvlr_result>();
    check(pvlr_wait(job_.get(), &result));
    return result;
  }
  // Best first; their labels are valid as long as the job.
  std::vector<pvlr_tag> tags() & {
    const pvlr_result result = wait();
    return {result.tags, result.tags + result.tag_count};
  }
  // Whether the job ends within this time; wait() then returns at once.
  bool wait_for(std::chrono::milliseconds time) {
    auto result = make<pvlr_result>();
    const pvlr_status status = pvlr_wait_for(job_.get(), time.count(), &result);
    if (status != PVLR_ERROR_TIMEOUT) check(status);
    return status == PVLR_OK;
  }
  // Of a temporary job, as in `tagger.submit(frame).tags()`, they would point to what is released.
  pvlr_result wait() && = delete;
  std::vector<pvlr_tag> tags() && = delete;

  // Waits. `map` gets map_rows * map_columns entries.
  void map(std::size_t label, std::vector<float>* map) {
    map->resize(map_size_);
    check(pvlr_map(job_.get(), label, map->data(), map->size()));
  }

 private:
  struct Release {
    void operator()(pvlr_job* job) const noexcept { pvlr_release(job); }
  };
  std::unique_ptr<pvlr_job, Release> job_;
  std::size_t map_size_;
};

// Any number of threads may use one at the same time.
class Tagger {
 public:
  explicit Tagger(const std::string& plan, const pvlr_options& options = make<pvlr_options>()) {
    pvlr_tagger* opened = nullptr;
    check(pvlr_open(plan.c_str(), &options, &opened));
    tagger_.reset(opened);
    map_size_ = static_cast<std::size_t>(info().map_rows) * static_cast<std::size_t>(info().map_columns);
  }

  pvlr_info info() const {
    auto info = make<pvlr_info>();
    check(pvlr_get_info(tagger_.get(), &info));
    return info;
  }

  // Of an open plan; see pvlr_set_labels.
  void set_labels(const std::string& bank) { check(pvlr_set_labels(tagger_.get(), bank.c_str())); }

  Job submit(const pvlr_frame& frame) const {
    pvlr_job* job = nullptr;
    check(pvlr_submit(tagger_.get(), &frame, &job));
    return Job(job, map_size_);
  }

 private:
  struct Close {
    void operator()(pvlr_tagger* tagger) const noexcept { pvlr_close(tagger); }
  };
  std::unique_ptr<pvlr_tagger, Close> tagger_;
  std::size_t map_size_ = 0;
};

}  // namespace pvlr
