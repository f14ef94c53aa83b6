"""Parametric estimates of a score, which the kernel part corrects."""
