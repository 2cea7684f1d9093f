// Reads the files of a bundle within limits, and hashes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pvlr::runtime {

// The contents of a regular file of at least `least` and at most `most` bytes; a FIFO, a device or a file of another
// size costs neither time nor memory. Throws Error.
std::string read_file(const std::filesystem::path& path, std::uint64_t least, std::uint64_t most);

// SHA-256 in hex.
std::string sha256(const std::string& data);

}  // namespace pvlr::runtime
