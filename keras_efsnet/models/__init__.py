"""The network, its model files and its presets, on every backend."""
