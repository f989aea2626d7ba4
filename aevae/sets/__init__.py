"""Where arrays come from: builders of ours, folders that TFDS has prepared, a user's own files.

source → own, stock → embedded → prepared → cached; digits, sprites, gaussian are builders
"""
