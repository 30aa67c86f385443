"""Prediction of frames, and the output files."""
