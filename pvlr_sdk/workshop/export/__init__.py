"""Plans and results in the formats of other programs, each in one file."""
