"""The page that predicts in a browser."""
