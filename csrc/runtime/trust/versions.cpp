#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "runtime/bundle/files.h"
#include "runtime/bundle/json_object.h"
#include "signature.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxStateBytes = 1U << 20U;

const char* variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The state folder of systemd, or of this user.
fs::path state_folder() {
  const std::string service = variable("STATE_DIRECTORY");
  if (!service.empty()) return service.substr(0, service.find(':'));
  const std::string given = variable("XDG_STATE_HOME");
  const passwd* const user = std::getenv("HOME") == nullptr ? getpwuid(getuid()) : nullptr;
  const std::string home = user == nullptr ? variable("HOME") : user->pw_dir;
  if (given.empty() && home.empty()) {
    fail(PVLR_ERROR_INVALID_ARGUMENT, "PVLR_STATE", "a file for the versions of signed bundles", "no home folder");
  }
  return (given.empty() ? fs::path(home) / ".local/state" : fs::path(given)) / "pvlr_sdk";
}

// $PVLR_STATE (empty: no protection), else versions.json in the state folder.
fs::path state_path() {
  const char* const named = std::getenv("PVLR_STATE");
  return named != nullptr ? fs::path(named) : state_folder() / "versions.json";
}

// Whether others than this user and root can replace a file. In a folder with the sticky bit, such as /tmp, nobody
// replaces what belongs to another user.
bool is_replaceable(const fs::path& path) {
  struct stat found{};
  if (stat(path.c_str(), &found) != 0) return errno != ENOENT;
  const bool ours = found.st_uid == 0 || found.st_uid == geteuid();
  return !ours || ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (found.st_mode & S_ISVTX) == 0);
}

Json read_versions(const fs::path& path) {
  if (is_missing(path)) return Json::object();
  // Not treated as empty: a user who can damage the file could then bring back an old bundle.
  return with_code(PVLR_ERROR_INVALID_ARGUMENT, [&] {
    const Json versions = parse_json(read_file(path, 0, kMaxStateBytes), path.string());
    JsonObject object(versions, path.string());
    for (const auto& item : versions.items()) object.integer(item.key(), INT64_MIN, INT64_MAX);
    return versions;
  });
}

[[noreturn]] void fail_unwritable(const fs::path& path) {
  fail(PVLR_ERROR_INVALID_ARGUMENT, path.string(), "a writable state file", std::generic_category().message(errno));
}

}  // namespace

bool is_own(const fs::path& path) noexcept {
  try {
    const fs::path file = fs::weakly_canonical(fs::absolute(path));
    const fs::path state = fs::weakly_canonical(fs::absolute(state_folder()));
    const auto ends = std::mismatch(state.begin(), state.end(), file.begin(), file.end());
    bool own = ends.first == state.end();
    for (fs::path part = file; own; part = part.parent_path()) {
      own = !is_replaceable(part);
      if (part == part.parent_path()) break;
    }
    return own;
  } catch (const std::exception&) {  // no home folder, or a loop of links
    return false;
  }
}

void check_version(const std::string& name, std::int64_t version, const std::string& source) {
  const fs::path path = state_path();
  const std::int64_t newest = path.empty() ? 0 : read_versions(path).value(name, std::int64_t{0});
  if (version >= newest) return;
  fail(PVLR_ERROR_ROLLBACK, source, "version " + std::to_string(newest) + " of " + name + " or a newer one",
       "version " + std::to_string(version));
}

void accept_version(const Signature& signature) {
  const fs::path path = state_path();
  const auto is_settled = [&] {
    return read_versions(path).value(signature.name, std::int64_t{0}) >= signature.version;
  };
  if (path.empty() || is_settled()) return;
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  // Excludes other processes: the version that one of them records must not be overwritten by an older one.
  const Descriptor lock(open(fs::path(path).replace_extension(".lock").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  if (lock.number() < 0) fail_unwritable(path);
  while (flock(lock.number(), LOCK_EX) != 0) {
    if (errno != EINTR) fail_unwritable(path);
  }
  if (is_settled()) return;
  Json versions = read_versions(path);
  versions[signature.name] = signature.version;
  const std::string text = versions.dump(1, ' ', true) + "\n";
  // One name, under the lock: a process that is killed here leaves a file that the next one overwrites.
  const std::string name = (path.parent_path() / ".versions.tmp").string();
  const Descriptor file(open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.number() >= 0 && write(file.number(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      fsync(file.number()) == 0 && std::rename(name.c_str(), path.c_str()) == 0) {
    return;
  }
  const int cause = errno;
  unlink(name.c_str());
  errno = cause;
  fail_unwritable(path);
}

}  // namespace pvlr::runtime
