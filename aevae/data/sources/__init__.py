"""Where arrays come from: a user's own files and arrays, folders that TFDS has prepared, embedded sets.

source → arrays, stock → embedded → tfds → cache, in the order of their imports.
"""
