#include "options.h"

#include <getopt.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "pvlr/pvlr.hpp"

namespace program {
namespace {

constexpr char kUsage[] =
    R"(usage: pvlr-tag [OPTION]... PLAN FILE...

Tags images and raw frames, and prints a JSON object per frame:
{"source": FILE, "frame": INDEX, "tags": [{"label": ..., "score": ..., "threshold": ...}, ...], "plan": SHA-256}

PLAN is engine.plan or its folder. A FILE is a binary PPM or PGM with values up to 255 or, with --size, any number of
raw frames without gaps.

  --size WxH             the size of raw frames
  --format FORMAT        of raw frames: bgr, rgb, bgra, rgba, gray, nv12 or i420 (default bgr)
  --matrix bt601|bt709   of nv12 and i420 (default bt601)
  --range limited|full   of nv12 and i420 (default limited)
  --precision NAME       auto, fp32, bf16 or int8 (default: the plan's)
  --precise              the thresholds for a precision of 90 %
  --threshold X          the threshold of all labels
  --threads N            of the inference engine (default: the cores that this process may use)
  --scores               also print the score of every label
  --version, --help
)";

[[noreturn]] void refuse(const std::string& argument, const std::string& expected, const std::string& got) {
  std::fprintf(stderr, "pvlr-tag: %s: expected %s, got '%s'\n", argument.c_str(), expected.c_str(), got.c_str());
  std::exit(2);
}

template <typename Value, std::size_t kCount>
Value choose(const char* name, const std::array<std::pair<const char*, Value>, kCount>& choices,
             const std::string& got) {
  std::string expected;
  for (const auto& [text, value] : choices) {
    if (got == text) return value;
    expected += (expected.empty() ? "" : ", ") + std::string(text);
  }
  refuse(name, "one of " + expected, got);
}

constexpr std::array<std::pair<const char*, pvlr_format>, 7> kFormats = {{{"bgr", PVLR_FORMAT_BGR},
                                                                          {"rgb", PVLR_FORMAT_RGB},
                                                                          {"bgra", PVLR_FORMAT_BGRA},
                                                                          {"rgba", PVLR_FORMAT_RGBA},
                                                                          {"gray", PVLR_FORMAT_GRAY},
                                                                          {"nv12", PVLR_FORMAT_NV12},
                                                                          {"i420", PVLR_FORMAT_I420}}};
constexpr std::array<std::pair<const char*, pvlr_matrix>, 2> kMatrices = {
    {{"bt601", PVLR_MATRIX_BT601}, {"bt709", PVLR_MATRIX_BT709}}};
constexpr std::array<std::pair<const char*, pvlr_range>, 2> kRanges = {
    {{"limited", PVLR_RANGE_LIMITED}, {"full", PVLR_RANGE_FULL}}};

void parse_size(const std::string& text, RawLayout* raw) {
  char end = '\0';
  if (std::sscanf(text.c_str(), "%5dx%5d%c", &raw->width, &raw->height, &end) != 2 || raw->width < 1 ||
      raw->height < 1) {
    refuse("--size", "WIDTHxHEIGHT, for example 1920x1080", text);
  }
}

float parse_float(const char* name, const std::string& text) {
  char* end = nullptr;
  const float number = std::strtof(text.c_str(), &end);
  if (text.empty() || *end != '\0') refuse(name, "a number", text);
  return number;
}

std::int32_t parse_integer(const char* name, const std::string& text) {
  std::int32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || at != end) refuse(name, "an integer of at most 32 bits", text);
  return number;
}

enum Option { kSize, kFormat, kMatrix, kRange, kPrecision, kPrecise, kThreshold, kThreads, kScores, kVersion, kHelp };

constexpr option kOptions[] = {{"size", required_argument, nullptr, kSize},
                               {"format", required_argument, nullptr, kFormat},
                               {"matrix", required_argument, nullptr, kMatrix},
                               {"range", required_argument, nullptr, kRange},
                               {"precision", required_argument, nullptr, kPrecision},
                               {"precise", no_argument, nullptr, kPrecise},
                               {"threshold", required_argument, nullptr, kThreshold},
                               {"threads", required_argument, nullptr, kThreads},
                               {"scores", no_argument, nullptr, kScores},
                               {"version", no_argument, nullptr, kVersion},
                               {"help", no_argument, nullptr, kHelp},
                               {nullptr, 0, nullptr, 0}};

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  options.tagger = pvlr::make<pvlr_options>();
  RawLayout raw{0, 0, PVLR_FORMAT_BGR, PVLR_MATRIX_BT601, PVLR_RANGE_LIMITED};
  for (int found = 0; (found = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    const std::string value = optarg == nullptr ? "" : optarg;
    switch (found) {
      case kSize:
        parse_size(value, &raw);
        break;
      case kFormat:
        raw.format = choose("--format", kFormats, value);
        break;
      case kMatrix:
        raw.matrix = choose("--matrix", kMatrices, value);
        break;
      case kRange:
        raw.range = choose("--range", kRanges, value);
        break;
      case kPrecision:
        options.tagger.precision = optarg;
        break;
      case kPrecise:
        options.tagger.operating_point = PVLR_OPERATING_POINT_PRECISE;
        break;
      case kThreshold:
        options.tagger.threshold = parse_float("--threshold", value);
        break;
      case kThreads:
        options.tagger.threads = parse_integer("--threads", value);
        break;
      case kScores:
        options.scores = true;
        break;
      case kVersion:
        std::puts(pvlr_version());
        std::exit(0);
      case kHelp:
        std::fputs(kUsage, stdout);
        std::exit(0);
      default:  // getopt_long has printed a message
        std::exit(2);
    }
  }
  if (argc - optind < 2) {
    std::fputs(kUsage, stderr);
    std::exit(2);
  }
  options.plan = argv[optind];
  options.files.assign(argv + optind + 1, argv + argc);
  if (raw.width != 0) options.raw = raw;
  return options;
}

}  // namespace program
