"""Events on clips: the detector of ``pvlr watch`` compared with what is visible, and when."""
