"""Metrics, thresholds and evaluation of a plan on labelled images."""
