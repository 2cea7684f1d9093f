"""Benchmarks of speed (cpu, gpu) and of accuracy, and the generators of the pages that show their results."""
