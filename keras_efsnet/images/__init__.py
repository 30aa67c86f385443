"""Reading of image files as grey frames."""
