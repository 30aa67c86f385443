"""From any file to grey frames."""
