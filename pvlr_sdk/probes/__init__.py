"""What ``pvlr doctor`` looks at beyond the CPU. A probe returns plain JSON values, or raises; the doctor guards it."""
