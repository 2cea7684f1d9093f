// The caller's frames.
#pragma once

#include "pvlr/preprocess.h"
#include "pvlr/pvlr.h"

namespace pvlr::runtime {

// The whole of a frame as preprocessing reads it; its region is still zero. Throws Error (PVLR_ERROR_INVALID_ARGUMENT)
// that names the first member that is invalid.
BatchFrame checked_frame(const pvlr_frame& frame);

}  // namespace pvlr::runtime
