"""The bundle: a plan, its manifest and its label bank, and how the three are written and verified."""
