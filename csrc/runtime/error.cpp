#include "error.h"

#include <array>
#include <cstring>

namespace pvlr::runtime {
namespace {

thread_local std::array<char, 1024> message_of_thread{};

}  // namespace

void fail(pvlr_status code, const std::string& argument, const std::string& expected, const std::string& got) {
  throw Error(code, argument + ": expected " + expected + ", got " + got);
}

const char* last_error() noexcept { return message_of_thread.data(); }

void set_last_error(const char* message) noexcept {
  std::size_t length = strnlen(message, message_of_thread.size());
  if (length == message_of_thread.size()) {
    const auto continues = [message](std::size_t i) {
      return (static_cast<unsigned char>(message[i]) & 0xC0U) == 0x80U;
    };
    --length;
    while (length > 0 && continues(length)) --length;  // not within a character
  }
  std::memcpy(message_of_thread.data(), message, length);
  message_of_thread[length] = '\0';
}

}  // namespace pvlr::runtime
