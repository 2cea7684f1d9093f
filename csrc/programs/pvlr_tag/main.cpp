// pvlr-tag: tags images and raw frames with libpvlr.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "images.h"
#include "options.h"
#include "pvlr/pvlr.hpp"

namespace {

using Json = nlohmann::ordered_json;

Json described(pvlr::Job& job, const pvlr_info& info, bool with_scores) {
  Json tags = Json::array();
  for (const pvlr_tag& tag : job.tags()) {
    tags.push_back({{"label", tag.label}, {"score", double{tag.score}}, {"threshold", double{tag.threshold}}});
  }
  Json described{{"tags", tags}, {"plan", info.sha256}};
  if (with_scores) {
    const pvlr_result result = job.wait();
    for (std::size_t i = 0; i < result.label_count; ++i) described["scores"][info.labels[i]] = double{result.scores[i]};
  }
  return described;
}

void tag_file(const pvlr::Tagger& tagger, const std::string& path, const program::Options& options) {
  program::FrameReader reader(path, options.raw);
  pvlr_frame frame{};
  for (int index = 0; reader.next(&frame); ++index) {
    pvlr::Job job = tagger.submit(frame);
    Json line{{"source", path}, {"frame", index}};
    line.update(described(job, tagger.info(), options.scores));
    // File names are bytes, and may be invalid UTF-8.
    std::puts(line.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  }
}

}  // namespace

// 0: all frames were tagged. 1: some files were not. 2: none, because of the plan or the command line.
int main(int argc, char** argv) {
  const program::Options options = program::parse_options(argc, argv);
  try {
    const pvlr::Tagger tagger(options.plan, options.tagger);
    int status = 0;
    for (const std::string& path : options.files) {
      try {
        tag_file(tagger, path, options);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "pvlr-tag: %s: %s\n", path.c_str(), error.what());
        status = 1;
      }
    }
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pvlr-tag: %s\n", error.what());
    return 2;
  }
}
