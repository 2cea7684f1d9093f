// How the library fails: it throws Error inside, and returns a code with a message at the C interface.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "pvlr/pvlr.h"

namespace pvlr::runtime {

class Error : public std::runtime_error {
 public:
  Error(pvlr_status code, const std::string& message) : std::runtime_error(message), code_(code) {}

  pvlr_status code() const { return code_; }

 private:
  pvlr_status code_;
};

// Throws "argument: expected X, got Y".
[[noreturn]] void fail(pvlr_status code, const std::string& argument, const std::string& expected,
                       const std::string& got);

// What pvlr_last_error returns; a message that is too long is cut.
const char* last_error() noexcept;
void set_last_error(const char* message) noexcept;

// Calls a function, and turns what it throws into a code and the thread's last error.
template <typename Function>
pvlr_status guarded(const Function& function) noexcept {
  try {
    function();
    return PVLR_OK;
  } catch (const Error& error) {
    set_last_error(error.what());
    return error.code();
  } catch (const std::bad_alloc&) {
    set_last_error("memory: expected enough for the call, got none");
    return PVLR_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return PVLR_ERROR_RUNTIME;
  }
}

}  // namespace pvlr::runtime
