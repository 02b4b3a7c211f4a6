"""Comparisons: grids of methods, languages, shots and seeds, cell by cell."""
