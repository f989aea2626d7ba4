"""TFDS builders of the embedded data sets, which need no download.

    digits      1,797 handwritten digits of 8x8 pixels
    gaussian    vectors of a linear-Gaussian model, whose likelihood and posterior are known
    sprites     shapes with known factors: position, scale, orientation and shape

`sources/embedded.py` lists their versions and configs.
"""
