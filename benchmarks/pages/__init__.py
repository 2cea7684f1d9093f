"""Generators of the pages that show the results: docs/performance.md, docs/accuracy.md and others, and of their charts."""
