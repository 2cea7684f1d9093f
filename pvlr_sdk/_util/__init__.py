"""What all packages share: files, text from outside, the cores of this process, the version."""
