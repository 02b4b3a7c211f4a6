"""What is learned: examples, readers of official formats, the registry of tasks, shots and the leak guard."""
