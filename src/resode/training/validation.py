"""The validation split: images taken from the training set, on which h and the like may be chosen."""

from dataclasses import replace

import numpy as np

from resode.base.errors import InputError
from resode.data.records import Dataset
from resode.training import augmentation


def split(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Hold out `fraction` of the training images of each class, drawn at random; a function of its arguments.

    Of n images of a class ⌊`fraction` · n + ½⌋ are held out. Both parts keep the order of the data set.

    Returns:
        the data set without them, its `provenance` naming the fraction; the images held out, uint8 (M, 32, 32, 3), and their
        labels, int32 (M,).

    Raises:
        InputError: nothing is held out, or of a class nothing is left.
    """
    labels = dataset.train_labels
    held_out = np.zeros(len(labels), bool)
    random = augmentation.generator(seed, augmentation.VALIDATION, 0)
    for label, name in enumerate(dataset.class_names):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen = members[: int(fraction * len(members) + 0.5)]
        if len(members) and len(chosen) == len(members):
            raise InputError(f"data.validation_fraction = {fraction:g} leaves no training image of class {name}")
        held_out[chosen] = True
    if not held_out.any():
        raise InputError(f"data.validation_fraction = {fraction:g} of {len(labels)} images is no image of any class")
    rest = replace(
        dataset,
        train_images=dataset.train_images[~held_out],
        train_labels=labels[~held_out],
        provenance={**dataset.provenance, "validation_fraction": fraction},
    )
    return rest, dataset.train_images[held_out], labels[held_out]
