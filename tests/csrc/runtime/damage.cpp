// Opens a bundle after every change of a byte of a file, and after every cut: damage FOLDER FILE STEP BITS. Changes one
// in STEP bytes, each in BITS of its bits, one after the other; the file is whole again at the end.
//
// Prints a line of JSON: how often the bundle opened with each status, after changes and after cuts.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "pvlr/pvlr.h"

namespace {

using Json = nlohmann::json;

void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s; the last error is '%s'\n", what.c_str(), pvlr_last_error());
  std::exit(1);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Damage {
 public:
  explicit Damage(std::string folder) : folder_(std::move(folder)) {
    options_.struct_size = sizeof options_;
    options_.threads = 1;
  }

  void run(const std::string& name, long step, int bits) {
    const std::string path = folder_ + "/" + name;
    const std::string whole = read_file(path);
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    require(file >= 0 && !whole.empty(), path);
    const auto size = static_cast<off_t>(whole.size());
    for (off_t i = 0; i < size; i += step) {
      for (int bit = 0; bit < bits; ++bit) {
        const int which = bits == 8 ? bit : static_cast<int>(i / step % 8);
        const char changed = static_cast<char>(whole[static_cast<std::size_t>(i)] ^ (1 << which));
        require(pwrite(file, &changed, 1, i) == 1, "pwrite");
        open_changed("changed");
      }
      require(pwrite(file, &whole[static_cast<std::size_t>(i)], 1, i) == 1, "pwrite");
    }
    for (off_t length = size - 1; length >= 0; length -= step) {
      require(ftruncate(file, length) == 0, "ftruncate");
      open_changed("cut");
    }
    require(pwrite(file, whole.data(), whole.size(), 0) == static_cast<ssize_t>(size), "pwrite");
    close(file);
    require(open_bundle() == PVLR_OK, "a whole bundle that opens");
  }

  const Json& counts() const { return counts_; }

 private:
  pvlr_status open_bundle() {
    pvlr_tagger* tagger = nullptr;
    const pvlr_status status = pvlr_open(folder_.c_str(), &options_, &tagger);
    require((tagger != nullptr) == (status == PVLR_OK), "a tagger or an error");
    pvlr_close(tagger);
    return status;
  }

  void open_changed(const std::string& change) {
    const pvlr_status status = open_bundle();
    const bool named = status == PVLR_OK || std::string(pvlr_last_error()).find(folder_) == 0;
    require(named, "a message that names the file, after it was " + change);
    Json& count = counts_[change][std::to_string(status)];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }

  const std::string folder_;
  pvlr_options options_{};
  Json counts_ = Json::object();
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  Damage damage(argv[1]);
  damage.run(argv[2], std::atol(argv[3]), std::atoi(argv[4]));
  std::puts(damage.counts().dump().c_str());
  return 0;
}
