"""Datasets: reading, checking and splitting them."""
