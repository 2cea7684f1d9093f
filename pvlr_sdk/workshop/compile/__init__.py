"""The compiler: turns an exported network and its label bank into a verified plan."""
