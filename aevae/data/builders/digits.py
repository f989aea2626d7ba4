"""The data set `digits` as a TFDS builder: handwritten digits from scikit-learn."""

import numpy as np
import tensorflow_datasets as tfds

from aevae.data.sources.embedded import EMBEDDED

SPLITS = {"train": 1200, "validation": 297, "test": 300}


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits of 8x8 pixels, as scikit-learn distributes them.

    The test set of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (1998), by 13 writers. A pixel counts the inked dots, 0 to 16, in a 4x4
    block of the scan. A count v is stored as round(255 v / 16), so that pixel / 255 is the
    fraction of ink to within half a gray level. The file is ordered by writer, so its rows are
    shuffled (NumPy, seed 0) before they are divided into 1,200 for training, 297 for validation
    and 300 for testing.
    """

    VERSION = tfds.core.Version(EMBEDDED["digits"].version)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        ends = np.cumsum(list(SPLITS.values()))
        rows = np.split(np.random.default_rng(0).permutation(ends[-1]), ends[:-1])
        return {name: self._generate_examples(r) for name, r in zip(SPLITS, rows)}

    def _generate_examples(self, rows):
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()
        counts = digits.images  # [N, 8, 8], 0 to 16
        for row in rows:
            gray = np.round(counts[row] * (255 / 16)).astype(np.uint8)
            yield (
                int(row),
                {
                    "image": Image.fromarray(gray),
                    "label": int(digits.target[row]),
                },
            )
