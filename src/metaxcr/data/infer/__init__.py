"""Declare a task from a user's own files: format, columns and labels are guessed from names and values."""
