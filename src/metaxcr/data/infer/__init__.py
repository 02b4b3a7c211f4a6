"""A task is declared from a user's own files: format, columns and labels are guessed from names and values."""
