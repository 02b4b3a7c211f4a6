"""From encoded contexts and choices to plausibilities."""
