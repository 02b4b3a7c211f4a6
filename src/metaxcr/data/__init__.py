"""Data: examples, readers of official formats, the registry of tasks, shots and the contamination check."""
