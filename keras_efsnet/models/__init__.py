"""The network, its files and presets, on every backend."""
