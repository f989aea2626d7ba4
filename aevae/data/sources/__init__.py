"""Where the arrays of a data set come from: files, memory, and folders that TFDS has prepared.

    source      what each of these gives, a `Source`; how a set without splits is divided
    images      arrays as images: types, ranges and shapes
    labels      labels and factors in their usual forms
    assembly    a user's arrays as a `Source`
    keys        which of a file's arrays are what, by their names
    texts       CSV and TSV: separators, and the first row
    tables      CSV, TSV and Parquet, and DataFrames
    arrays      .npz, .npy and HDF5 files, and arrays in memory
    pictures    folders of images
    files       which of these reads a path
    stock       the field's data sets in TFDS: how their examples become rows of arrays
    embedded    the data sets that need no download, by name
    tfds        prepared folders: found, prepared, and read without TensorFlow
    cache       the arrays of a prepared folder, decoded once

Each file imports only from those above it.
"""
