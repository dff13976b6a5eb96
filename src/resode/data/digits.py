"""scikit-learn's handwritten digits in the shape of CIFAR-10: real images with nothing to download."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from resode.data import records

NAME = "digits"
TITLE = "Handwritten digits (scikit-learn)"
SOURCE = (
    "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
    "1998; the 1,797 images bundled with scikit-learn (sklearn.datasets.load_digits), 8×8 enlarged to 32×32×3"
)
CLASS_NAMES = tuple(str(digit) for digit in range(10))
TEST_FRACTION = 0.2
SPLIT_SEED = 0
BRIGHTEST = 16


def write(folder: Path) -> None:
    """Write the digits to `folder` with a fixed stratified split, four fifths for training.

    Raises:
        InputError: the folder cannot be written.
    """
    bundled = load_digits()
    images, labels = enlarge(bundled.images), bundled.target
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    records.write(
        folder,
        {
            "data_batch_1.bin": records.encode(images[train], labels[train]),
            records.TEST_FILE: records.encode(images[test], labels[test]),
        },
        name=NAME,
        title=TITLE,
        class_names=CLASS_NAMES,
        source=SOURCE,
        published=True,
    )


def enlarge(images: np.ndarray) -> np.ndarray:
    """Grey images (N, 8, 8) with values 0..16 as uint8 (N, 32, 32, 3), bilinearly interpolated."""
    grey = np.rint(np.asarray(images) * (255 / BRIGHTEST)).astype(np.uint8)
    # Pillow interpolates in integers, so every machine gets the same bytes.
    size = (records.SIDE, records.SIDE)
    large = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in grey]
    return np.repeat(np.stack(large)[..., None], records.CHANNELS, axis=-1)
