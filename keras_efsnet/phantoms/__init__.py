"""Synthetic B-mode breast ultrasound with exact lesion masks."""

from keras_efsnet.phantoms.phantom import Phantom, make_phantom, write_phantoms

__all__ = ["Phantom", "make_phantom", "write_phantoms"]
