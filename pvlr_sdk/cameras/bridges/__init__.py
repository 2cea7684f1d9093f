"""Protocols of other programs, each in one file: Frigate, galleries, Label Studio, the Open Inference Protocol."""
