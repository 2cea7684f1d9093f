"""Accuracy of PVLR and its rivals: experiments, their training and their measurement."""
