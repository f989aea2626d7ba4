"""A run folder: a study trains a grid into it, and trained runs are loaded back from it."""
