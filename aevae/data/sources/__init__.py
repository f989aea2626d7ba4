"""Where the arrays of a data set come from: files, memory, and folders that TFDS has prepared.

    source      what each of these gives, a `Source`; how a set without splits is divided
    arrays      .npz and .npy files, and arrays in memory
    stock       the field's data sets in TFDS: how their examples become rows of arrays
    embedded    the data sets that need no download, by name
    tfds        prepared folders: found, prepared, and read without TensorFlow
    cache       the arrays of a prepared folder, decoded once

Each file imports only from those above it.
"""
