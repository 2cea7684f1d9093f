#include "compatibility.h"

#include <sstream>

#include "runtime/error.h"

namespace pvlr::runtime::tensorrt {
namespace {

Version parsed(const std::string& text) {
  Version version;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, '.');) version.push_back(std::stoi(part));
  return version;
}

// As many parts of this machine's version as the manifest has.
Version as_precise_as(const Version& built, Version here) {
  here.resize(built.size());
  return here;
}

std::string shown(const Version& version) {
  std::string text;
  for (const int part : version) text += (text.empty() ? "" : ".") + std::to_string(part);
  return text;
}

class Mismatches {
 public:
  void add(const std::string& what, const std::string& built_for, const std::string& here) {
    expected_ += (expected_.empty() ? "" : "; ") + what + ": " + built_for;
    got_ += (got_.empty() ? "" : "; ") + here;
  }
  void check(const std::string& source) const {
    if (expected_.empty()) return;
    fail(PVLR_ERROR_UNSUPPORTED, source, expected_, got_ + ". Build it on this machine with pvlr build");
  }

 private:
  std::string expected_;
  std::string got_;
};

void compare_gpu(const TensorRtSpec& spec, const cuda::Gpu& gpu, Mismatches* found) {
  const std::string capability = std::to_string(gpu.major) + "." + std::to_string(gpu.minor);
  const std::string here = gpu.name + ", compute capability " + capability;
  const auto with_multiprocessors = [&gpu](std::int32_t count) {
    return gpu.name + " with " + std::to_string(count) + " multiprocessors";
  };
  if (spec.hardware == "ampere+") {
    if (gpu.major < 8) found->add("GPU", "Ampere and newer", here);
  } else if (spec.capability != capability) {
    found->add("GPU", spec.gpu + ", compute capability " + spec.capability, here);
  } else if (spec.hardware == "this" && spec.gpu != gpu.name) {
    found->add("GPU", spec.gpu, gpu.name);
  } else if (spec.hardware == "this" && spec.multiprocessors != 0 && spec.multiprocessors != gpu.multiprocessors) {
    found->add("GPU", with_multiprocessors(spec.multiprocessors), with_multiprocessors(gpu.multiprocessors));
  }
}

}  // namespace

bool is_other_version(const TensorRtSpec& spec, const Version& here) {
  const Version built = parsed(spec.version);
  return as_precise_as(built, here) != built;
}

void check_compatibility(const TensorRtSpec& spec, const Machine& machine, const std::string& source) {
  Mismatches found;
  if (spec.machine != machine.processor) found.add("processor", spec.machine, machine.processor);
  const Version built = parsed(spec.version);
  const Version here = as_precise_as(built, machine.tensorrt);
  if (spec.version_compatible ? here < built : here != built) {
    found.add("TensorRT", spec.version + (spec.version_compatible ? " or newer" : ""), shown(here));
  }
  compare_gpu(spec, machine.gpu, &found);
  if (!spec.plugins.empty() && spec.plugins != machine.plugins) {
    found.add("plugin library", "version " + spec.plugins,
              machine.plugins.empty() ? "none" : "version " + machine.plugins);
  }
  found.check(source);
}

}  // namespace pvlr::runtime::tensorrt
