"""Probes of ``pvlr doctor`` beyond the CPU. A probe returns plain JSON values or raises; the doctor guards it."""
