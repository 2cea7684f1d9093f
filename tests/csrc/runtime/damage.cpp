// Opens a bundle after every change of a byte, and after every cut: damage FOLDER STEP BITS. Changes one in STEP
// bytes, each in BITS of its bits, one after the other; the files are whole again at the end.
//
// Prints a line of JSON: the refusals by file and status, and the changes of the manifest that were not refused by the
// member that differs.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
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

// The members in which two documents differ, without the positions in lists, and without those of what is for people.
std::string difference(const std::string& one, const std::string& other) {
  const Json before = Json::parse(one);
  const Json after = Json::parse(other, nullptr, false);
  if (after.is_discarded()) return "not JSON";
  std::string members;
  for (const Json& change : Json::diff(before, after)) {
    std::string member;
    const auto path = change["path"].get<std::string>();
    if (path.find("/built/") == 0 || path.find("/measured/") == 0) {
      return "replace" + path.substr(0, path.find('/', 1));
    }
    for (const char c : path) {
      if (c >= '0' && c <= '9' && (member.back() == '/' || member.back() == '*')) {
        if (member.back() == '/') member += '*';
      } else {
        member += c;
      }
    }
    members += (members.empty() ? "" : " ") + change["op"].get<std::string>() + member;
  }
  return members.empty() ? "nothing" : members;
}

class Damage {
 public:
  Damage(std::string folder, long step, int bits) : folder_(std::move(folder)), step_(step), bits_(bits) {
    options_.struct_size = sizeof options_;
    options_.threads = 1;
  }

  void run(const char* name) {
    path_ = folder_ + "/" + name;
    whole_ = read_file(path_);
    const int file = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    require(file >= 0 && !whole_.empty(), path_);
    const auto size = static_cast<off_t>(whole_.size());
    for (off_t i = 0; i < size; i += step_) {
      for (int bit = 0; bit < bits_; ++bit) {
        const int which = bits_ == 8 ? bit : static_cast<int>(i / step_ % 8);
        const char changed = static_cast<char>(whole_[static_cast<std::size_t>(i)] ^ (1 << which));
        require(pwrite(file, &changed, 1, i) == 1, "pwrite");
        open_changed(std::string(name) + " changed");
      }
      require(pwrite(file, &whole_[static_cast<std::size_t>(i)], 1, i) == 1, "pwrite");
    }
    for (off_t length = size - 1; length >= 0; length -= step_) {
      require(ftruncate(file, length) == 0, "ftruncate");
      open_changed(std::string(name) + " cut");
    }
    require(pwrite(file, whole_.data(), whole_.size(), 0) == static_cast<ssize_t>(size), "pwrite");
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
    if (status == PVLR_OK) {
      ++count(change + ", opened", difference(whole_, read_file(path_)));
      return;
    }
    require(std::string(pvlr_last_error()).find(folder_) == 0, "a message that names the file, after " + change);
    ++count(change + ", refused", std::to_string(status));
  }

  Json::number_integer_t& count(const std::string& key, const std::string& kind) {
    Json& counted = counts_[key][kind];
    if (counted.is_null()) counted = Json::number_integer_t{0};
    return counted.get_ref<Json::number_integer_t&>();
  }

  const std::string folder_;
  const long step_;
  const int bits_;
  pvlr_options options_{};
  std::string path_;
  std::string whole_;
  Json counts_ = Json::object();
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  Damage damage(argv[1], std::atol(argv[2]), std::atoi(argv[3]));
  for (const char* const name : {"engine.plan", "engine.labels.safetensors", "engine.json"}) damage.run(name);
  std::puts(damage.counts().dump().c_str());
  return 0;
}
