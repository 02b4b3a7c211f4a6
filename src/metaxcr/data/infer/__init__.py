"""A user's own files become a declared task: format, fields and labels are told from names and values."""
