"""``python -m pvlr_sdk.libpvlr`` prints the folder of libpvlr, for CMake and pkg-config."""

import sys

from ..errors import MissingPartError
from . import prefix

try:
    print(prefix())
except MissingPartError as error:
    print(f"pvlr_sdk.libpvlr: {error}", file=sys.stderr)
    sys.exit(2)
