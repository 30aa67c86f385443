"""The classes, in the order of the network's output."""

LABELS = ("normal", "benign", "malignant")

LESIONS = LABELS[1:]
"""The classes with a lesion."""
