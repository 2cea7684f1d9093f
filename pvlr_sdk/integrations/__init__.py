"""Adapters for other programs and their formats, each in one file. Nothing else in the package depends on them."""
