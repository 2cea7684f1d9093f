"""False events, missed appearances, and precision and recall of frames, on labelled footage of fixed cameras."""
