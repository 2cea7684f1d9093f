"""Checks (``pvlr doctor``) and benchmarks (``pvlr bench``) of this machine."""
