#!/bin/bash
# albumentations 2.0.8 with opencv-python-headless 4.14.0.94: SafeRotate, GridDistortion and OpticalDistortion with an angle or a distortion of 0, as in the
# middle of the range that they draw from.
#
# Guess: the image comes back as it is, as from Rotate, Affine, ShiftScaleRotate, Perspective, ElasticTransform and ThinPlateSpline with 0, and from
# OpticalDistortion(mode="fisheye").
# Seen, without a word: SafeRotate by 0° moves the image by half a pixel to the right and down, OpticalDistortion by half a pixel to the left and up, and
# its last row and column are half black; GridDistortion stretches each cell of its grid by a pixel and makes the last row and column black. So each
# image that passes through them is blurred, however small the distortion, and training and test images are half a pixel apart, which is much where
# images have 32 pixels. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" albumentations==2.0.8 opencv-python-headless==4.14.0.94 numpy==2.4.6
cat > "$folder/zero.py" <<'END'
import sys
import albumentations as A
import numpy as np

row = np.arange(100, 228, 4)
image = np.repeat(np.tile(row.astype(np.uint8), (32, 1))[..., None], 3, axis=2)  # brighter by 4 with each pixel to the right
seen = {}
for name, transform in {
    "Rotate": A.Rotate(limit=(0, 0), p=1),
    "ElasticTransform": A.ElasticTransform(alpha=0, p=1),
    "OpticalDistortion, fisheye": A.OpticalDistortion(distort_limit=(0, 0), mode="fisheye", p=1),
    "SafeRotate": A.SafeRotate(limit=(0, 0), p=1),
    "OpticalDistortion": A.OpticalDistortion(distort_limit=(0, 0), p=1),
    "GridDistortion": A.GridDistortion(num_steps=4, distort_limit=(0, 0), p=1),
}.items():
    change = transform(image=image)["image"][16, :, 0].astype(int) - row
    print(f"{name}, 0: brighter by {change[[8, 15, 16, 30]].tolist()} in columns 8, 15, 16 and 30, by {change[-1]} in the last one")
    seen[name] = (int(change[8]), int(change[-1]))
same = all(seen[name] == (0, 0) for name in ("Rotate", "ElasticTransform", "OpticalDistortion, fisheye"))
sys.exit(not (same and seen["SafeRotate"][0] == -2 and seen["OpticalDistortion"][0] == 2 and seen["GridDistortion"][1] < -200))
END
NO_ALBUMENTATIONS_UPDATE=1 PYTHONPATH="$folder" python3 -W ignore "$folder/zero.py" || { echo "changed"; exit 1; }
