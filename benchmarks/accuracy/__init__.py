"""Accuracy of the shipped models: on images, on clips and with bad cameras."""
