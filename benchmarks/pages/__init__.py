"""Generators of the pages that show the results: docs/performance.md and docs/accuracy.md, and of their charts."""
