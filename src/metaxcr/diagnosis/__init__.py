"""Signs of a run that did not work, read from what it recorded."""
