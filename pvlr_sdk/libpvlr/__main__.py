"""``python -m pvlr_sdk.libpvlr`` prints the folder of libpvlr, for CMake and pkg-config."""

from . import print_prefix

print_prefix()
