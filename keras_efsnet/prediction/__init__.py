"""From a frame to a prediction, and the files that hold it."""
