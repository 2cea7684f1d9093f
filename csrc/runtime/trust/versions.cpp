#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "runtime/bundle/files.h"
#include "runtime/bundle/json_object.h"
#include "signature.h"

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = 1U << 20U;

const char* variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// $PVLR_STATE (empty: no protection), else versions.json in the state folder of systemd or of this user.
fs::path state_path() {
  if (const char* const named = std::getenv("PVLR_STATE")) return named;
  const std::string service = variable("STATE_DIRECTORY");
  if (!service.empty()) return fs::path(service.substr(0, service.find(':'))) / "versions.json";
  const std::string given = variable("XDG_STATE_HOME");
  const passwd* const user = std::getenv("HOME") == nullptr ? getpwuid(getuid()) : nullptr;
  const std::string home = user == nullptr ? variable("HOME") : user->pw_dir;
  if (given.empty() && home.empty()) {
    fail(PVLR_ERROR_INVALID_ARGUMENT, "PVLR_STATE", "a file for the versions of signed bundles", "no home folder");
  }
  return (given.empty() ? fs::path(home) / ".local/state" : fs::path(given)) / "pvlr_sdk/versions.json";
}

Json read_versions(const fs::path& path) {
  if (is_missing(path)) return Json::object();
  // Not treated as empty: a user who can damage the file could then bring back an old bundle.
  return with_code(PVLR_ERROR_INVALID_ARGUMENT, [&] {
    const Json versions = parse_json(read_file(path, 0, kMaxBytes), path.string());
    JsonObject object(versions, path.string());
    for (const auto& item : versions.items()) object.integer(item.key(), INT64_MIN, INT64_MAX);
    return versions;
  });
}

[[noreturn]] void fail_unwritable(const fs::path& path) {
  fail(PVLR_ERROR_INVALID_ARGUMENT, path.string(), "a writable state file", std::generic_category().message(errno));
}

}  // namespace

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
