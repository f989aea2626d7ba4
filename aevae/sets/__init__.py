"""Where arrays come from: builders of ours, folders that TFDS has prepared, a user's own files.

source → own, stock → embedded → prepared → (digits, sprites, gaussian: builders)
"""
