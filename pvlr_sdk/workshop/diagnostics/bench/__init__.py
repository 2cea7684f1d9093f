"""Benchmark of a plan on this machine, with a check of how reliable the results are: what ``pvlr bench`` prints.

``measure`` runs everything, ``sampling`` takes samples until they are stable, ``machine`` reads clocks, power and
memory.
"""
