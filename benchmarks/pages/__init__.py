"""Generators of the pages in docs/ that show the results, and of their charts."""
