"""Kernels, the forms of the kernel part of a score, and how it is solved for."""
