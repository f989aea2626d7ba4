"""TFDS builders of the embedded data sets."""
