"""The entry point of ``pvlr``, and of ``python -m pvlr_sdk``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from .cli import main

        main()
    except KeyboardInterrupt:  # before a command has begun, which handles it itself
        sys.exit(130)


if __name__ == "__main__":
    main()
