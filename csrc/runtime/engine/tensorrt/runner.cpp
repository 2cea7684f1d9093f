// The engine for plans of the backend tensorrt: a plan on GPU 0, which threads share.
#include "runtime/engine/runner.h"

#include <NvInferRuntime.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <cstring>

#include "compatibility.h"
#include "cuda.h"
#include "plugins.h"
#include "runtime/error.h"
#include "session.h"

static_assert(NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 3),
              "the headers of TensorRT 10.3 or later");

namespace pvlr::runtime {
namespace {

using namespace tensorrt;

constexpr char kAllowUnsigned[] = "PVLR_ALLOW_UNSIGNED";

// A plan is code that runs in this process: as in Python, its origin must be known.
void check_trust(const Bundle& bundle, const EngineOptions& options) {
  const char* const allowed = std::getenv(kAllowUnsigned);
  if (bundle.signature || options.allow_unsigned || (allowed != nullptr && std::strcmp(allowed, "1") == 0)) return;
  fail(PVLR_ERROR_NOT_SIGNED, bundle.source,
       "trusted keys, options.trust or PVLR_TRUST, because a TensorRT plan is code",
       "none. options.allow_unsigned or PVLR_ALLOW_UNSIGNED=1 opens it without a signature");
}

void check_precision(const std::string& wanted, const std::string& built) {
  if (wanted.empty() || wanted == "auto" || wanted == built) return;
  fail(PVLR_ERROR_INVALID_ARGUMENT, "options.precision", built + " or auto, as a TensorRT plan has one precision",
       wanted);
}

Version installed_version() {
  return {getInferLibMajorVersion(), getInferLibMinorVersion(), getInferLibPatchVersion(), getInferLibBuildVersion()};
}

// Other major versions have other virtual functions, and libraries of other names.
void check_library(const Version& version) {
  if (version[0] == NV_TENSORRT_MAJOR) return;
  const std::string major = std::to_string(NV_TENSORRT_MAJOR);
  fail(PVLR_ERROR_UNSUPPORTED, "TensorRT", "version " + major + ", which this libpvlr was built for",
       "no libnvinfer.so." + major + " that loads");
}

std::string processor() {
  utsname system{};
  return uname(&system) == 0 ? system.machine : "";
}

}  // namespace

std::unique_ptr<Runner> load_tensorrt(const Bundle& bundle, const EngineOptions& options) {
  const TensorRtSpec& spec = *bundle.manifest.tensorrt;
  check_trust(bundle, options);
  check_precision(options.precision, bundle.manifest.precision);
  cuda::require_context();
  const Version version = installed_version();
  check_library(version);
  const Machine machine{processor(), version, cuda::find_gpu(), spec.plugins.empty() ? "" : plugin_version()};
  check_compatibility(spec, machine, bundle.source);
  const std::int32_t batch = options.throughput ? spec.batch[2] : spec.batch[0];
  return std::make_unique<Session>(bundle, batch, is_other_version(spec, version));
}

}  // namespace pvlr::runtime
