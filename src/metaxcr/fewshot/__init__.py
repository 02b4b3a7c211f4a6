"""Adapting to a few dozen examples of one's own, and an honest account of what that gave."""
