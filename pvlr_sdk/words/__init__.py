"""Label banks from words: a text encoder without PyTorch. Needs the extra ``[words]``."""
