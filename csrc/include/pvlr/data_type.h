// The floating-point types of tensors.
#pragma once

#include <cstdint>

namespace pvlr {

enum class DataType : std::int32_t { kFloat32, kFloat16, kBfloat16 };

}  // namespace pvlr
