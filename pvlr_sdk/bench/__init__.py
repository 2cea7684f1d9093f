"""Measures how fast a plan is on this machine, and how far the figures can be trusted: what ``pvlr bench`` prints.

``measure`` runs everything, ``sampling`` takes samples until they are stable, ``machine`` reads clocks, power and
memory, ``compare`` holds two reports against each other, ``plot`` draws one.
"""
