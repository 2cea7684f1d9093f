// pvlr-tag: tags images and prints a JSON object for each of them. An example of libpvlr.
#include <getopt.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "pvlr/pvlr.hpp"

namespace {

using Json = nlohmann::ordered_json;

constexpr char kUsage[] =
    R"(usage: pvlr-tag [OPTION]... PLAN IMAGE...

Tags images and prints a JSON object for each of them:
{"source": IMAGE, "tags": [{"label": ..., "score": ..., "threshold": ...}, ...], "plan": SHA-256}

PLAN is engine.plan or its folder. An IMAGE is a binary PPM or PGM with values up to 255.

  --bank FILE       the label bank, of an open plan
  --precision NAME  auto, fp32, bf16 or int8 (default: the plan's)
  --precise         the thresholds for a precision of 90 %
  --threshold X     the threshold of all labels
  --tiles CxR       also tag tiles, columns x rows, or auto (default: none)
  --threads N       of the inference engine (default: the cores that this process may use)
  --scores          also print the score of every label
  --version, --help
)";

struct Image {
  pvlr_format format;
  int width;
  int height;
  std::vector<char> pixels;
};

// Skips white space and comments, which reach to the end of the line.
int read_number(std::istream& file) {
  while ((file >> std::ws).peek() == '#') file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  int number = 0;
  if (!(file >> number)) throw std::runtime_error("a damaged header");
  return number;
}

// "P6" (RGB) or "P5" (grey), then width, height and the largest value in decimal, one white space, and the pixels.
Image read_image(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::generic_category().message(errno));
  char magic[2] = {};
  file.read(magic, sizeof magic);
  if (magic[0] != 'P' || (magic[1] != '6' && magic[1] != '5')) throw std::runtime_error("not a binary PPM or PGM");
  Image image{magic[1] == '6' ? PVLR_FORMAT_RGB : PVLR_FORMAT_GRAY, read_number(file), read_number(file), {}};
  if (image.width < 1 || image.height < 1 || read_number(file) != 255) {
    throw std::runtime_error("values beyond 255, or no pixels");
  }
  if (image.width > 16384 || image.height > 16384) throw std::runtime_error("more than 16384 pixels a side");
  file.get();
  const std::int64_t bytes = std::int64_t{image.format == PVLR_FORMAT_RGB ? 3 : 1} * image.width * image.height;
  image.pixels.resize(static_cast<std::size_t>(bytes));
  if (!file.read(image.pixels.data(), bytes)) {
    throw std::runtime_error("the file ends within the pixels");
  }
  return image;
}

void tag(const pvlr::Tagger& tagger, const std::string& path, bool with_scores) {
  const Image image = read_image(path);
  pvlr::Job job = tagger.submit(pvlr::packed_frame(image.format, image.width, image.height, image.pixels.data()));
  Json line{{"source", path}, {"tags", Json::array()}, {"plan", tagger.info().sha256}};
  for (const pvlr_tag& tag : job.tags()) {
    line["tags"].push_back({{"label", tag.label}, {"score", double{tag.score}}, {"threshold", double{tag.threshold}}});
  }
  const pvlr_result result = job.wait();
  for (std::size_t i = 0; with_scores && i < result.label_count; ++i) {
    line["scores"][result.labels[i]] = double{result.scores[i]};
  }
  // File names are bytes, and may be invalid UTF-8.
  std::puts(line.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

// The number in the argument of an option; `read` is std::stoi or std::stof.
template <typename Number>
Number parse(const char* option, const std::string& text, Number (*read)(const std::string&, std::size_t*)) {
  std::size_t used = 0;
  Number number{};
  try {
    number = read(text, &used);
  } catch (const std::logic_error&) {  // not a number, or out of range
  }
  if (used == text.size() && used > 0) return number;
  throw std::invalid_argument(std::string(option) + ": expected a number, got '" + text + "'");
}

constexpr option kOptions[] = {
    {"bank", required_argument, nullptr, 'b'},  {"precision", required_argument, nullptr, 'p'},
    {"precise", no_argument, nullptr, 'o'},     {"threshold", required_argument, nullptr, 'x'},
    {"tiles", required_argument, nullptr, 'l'}, {"threads", required_argument, nullptr, 'n'},
    {"scores", no_argument, nullptr, 's'},      {"version", no_argument, nullptr, 'v'},
    {"help", no_argument, nullptr, 'h'},        {nullptr, 0, nullptr, 0}};

}  // namespace

// 0: all images were tagged. 1: some images were not. 2: none, because of the plan or the command line.
int main(int argc, char** argv) try {
  auto options = pvlr::make<pvlr_options>();
  bool with_scores = false;
  const char* bank = nullptr;
  for (int found = 0; (found = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    if (found == 'b') bank = optarg;
    if (found == 'p') options.precision = optarg;
    if (found == 'o') options.operating_point = PVLR_OPERATING_POINT_PRECISE;
    if (found == 'x') {
      options.threshold = parse<float>("--threshold", optarg, [](const auto& t, auto* n) { return std::stof(t, n); });
    }
    if (found == 'n') {
      options.threads = parse<int>("--threads", optarg, [](const auto& t, auto* n) { return std::stoi(t, n); });
    }
    if (found == 'l') pvlr::set_tiles(optarg, &options);
    if (found == 's') with_scores = true;
    if (found == 'v') return std::puts(pvlr_version()), 0;
    if (found == 'h') return std::fputs(kUsage, stdout), 0;
    if (found == '?') return 2;  // getopt_long has printed a message
  }
  if (argc - optind < 2) return std::fputs(kUsage, stderr), 2;
  pvlr::Tagger tagger(argv[optind], options);
  if (bank != nullptr) tagger.set_labels(bank);
  int status = 0;
  for (int i = optind + 1; i < argc; ++i) {
    try {
      tag(tagger, argv[i], with_scores);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "pvlr-tag: %s: %s\n", argv[i], error.what());
      status = 1;
    }
  }
  return status;
} catch (const std::exception& error) {
  std::fprintf(stderr, "pvlr-tag: %s\n", error.what());
  return 2;
}
