r"""Convolutions with 3 × 3 kernels as matrix products, by Winograd's minimal filtering algorithm F(4 × 4, 3 × 3).

A tile of 4 × 4 outputs depends on 6 × 6 inputs. With the matrices Bᵀ (6 × 6), G (6 × 3) and Aᵀ (4 × 6) of the interpolation
points 0, ±1, ±2, ∞, and ⊙ the product of numbers in the same place, one input and one output channel are

    Y = Aᵀ [(G K Gᵀ) ⊙ (Bᵀ X B)] A,

36 multiplications instead of 144. With many channels and tiles, ⊙ becomes 36 matrix products, one for each place (i, j):

    V = 𝐁 x,    M_ij = V_ij U_ij,    K x = 𝐀 M,          U = G K Gᵀ

where 𝐁 cuts an image into its tiles and transforms each, and 𝐀 transforms the products and puts the tiles together. The zeros
around the image are part of 𝐁. As 𝐀, U and 𝐁 are linear, the adjoint needs no second kernel:

    Kᵀ y = 𝐁ᵀ M,    M_ij = V_ij U_ijᵀ,    V = 𝐀ᵀ y.

Source: A. Lavin and S. Gray (2015), "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308; matrices of section
4.1.3.
"""

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops

from resode.nn.loops import on_cpu

_TILE, _POINTS = 4, 6
# Input channels from which products are faster.
LEAST_CHANNELS = 64
_B_TRANSPOSED = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
# G · Gᵀ on kernels written as columns of 9 numbers.
_G_TWICE = np.kron(_G, _G).astype("float32")
_A_TRANSPOSED = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def _transformed(kernel: Any) -> Any:
    """U = G K Gᵀ of a kernel (3, 3, in, out): (36, in, out)."""
    return ops.reshape(ops.matmul(_G_TWICE, ops.reshape(kernel, (9, -1))), (_POINTS**2, *kernel.shape[2:]))


def is_faster(height: int, width: int, channels: int) -> bool:
    """Return whether products are faster than direct convolutions of (height, width) images with kernels (3, 3, channels, ·).

    On a CPU, with channels enough to outweigh the transforms, and where the tiles at the edges are mostly image; on a GPU cuDNN
    has this algorithm itself. Measured on two CPUs with both backends, unit by unit, at batch 32 with shared weights; results/bench
    has the whole network's figures. The batch is not looked at: for a few images the transforms of the kernels outweigh the gain.
    """
    tiles = _Axis(height).tiles * _Axis(width).tiles
    return on_cpu() and channels >= LEAST_CHANNELS and 2 * _POINTS**2 * tiles <= 9 * height * width


@cache
def of_size(height: int, width: int) -> "Winograd":
    """The convolutions of images of (height, width)."""
    return Winograd(height, width)


class Winograd:
    """The convolutions of images of one size, with stride 1 and "same" padding.

    Images are (height, width, batch, channels): so each transform is a product with a matrix on the left.

    Args:
        height, width: of the images; no multiples of 4 are needed.
    """

    def __init__(self, height: int, width: int):
        self._rows, self._columns = _Axis(height), _Axis(width)

    def convolve(self, x: Any, kernel: Any) -> Any:
        """The convolution K x with a kernel (3, 3, in, out); (height, width, batch, in) to (height, width, batch, out)."""
        return self._product(x, kernel, (self._rows.b, self._columns.b), (self._rows.a, self._columns.a))

    def convolve_transposed(self, y: Any, kernel: Any) -> Any:
        """Its adjoint Kᵀ y with the same kernel; (height, width, batch, out) to (height, width, batch, in)."""
        before, after = (self._rows.a.T, self._columns.a.T), (self._rows.b.T, self._columns.b.T)
        return self._product(y, kernel, before, after, transposed=True)

    def _product(self, x: Any, kernel: Any, before: tuple, after: tuple, transposed: bool = False) -> Any:
        """The images that follow from x by the matrices `before` on rows and columns, the products with U, or Uᵀ, and `after`.

        The gradient is written out to save memory: automatic differentiation would keep V, which is 2.25 times as large as x,
        of every step, and XLA the gradients of U, each four times as large as the kernel, until all are there to be summed.
        """

        @ops.custom_gradient
        def product(x: Any, kernel: Any) -> tuple:
            u = _transformed(kernel)

            def gradient(dy: Any) -> tuple:
                products = self._tiles(dy, *(matrix.T for matrix in after))
                dx = self._image(_times(products, u, not transposed), *(matrix.T for matrix in before))
                # The zero makes V depend on dy: otherwise the compiler makes it in the forward pass and keeps it.
                v = self._tiles(x + 0.0 * dy[0, 0, 0, 0], *before)
                inputs, outputs = (products, v) if transposed else (v, products)
                du = ops.matmul(_turned(_by_place(inputs)), _by_place(outputs))
                return dx, ops.reshape(ops.matmul(_G_TWICE.T, ops.reshape(du, (_POINTS**2, -1))), kernel.shape)

            return self._image(_times(self._tiles(x, *before), u, transposed), *after), gradient

        return product(x, kernel)

    def _tiles(self, x: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
        """The transformed tiles of images x, (6, rows of tiles, 6, columns of tiles · batch, channels)."""
        height, width, _, channels = x.shape
        x = ops.reshape(ops.matmul(rows, ops.reshape(x, (height, -1))), (len(rows), width, -1))
        return ops.reshape(ops.matmul(columns, x), (_POINTS, self._rows.tiles, _POINTS, -1, channels))

    def _image(self, products: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
        """The images (height, width, batch, channels) of `products`, which are in the order of `_tiles`."""
        x = ops.matmul(columns, ops.reshape(products, (rows.shape[1], columns.shape[1], -1)))
        x = ops.matmul(rows, ops.reshape(x, (rows.shape[1], -1)))
        return ops.reshape(x, (len(rows), len(columns), -1, products.shape[-1]))


def _times(tiles: Any, u: Any, transposed: bool) -> Any:
    """The products of `tiles` in the order of `Winograd._tiles` with U, or Uᵀ, at each place; in the same order."""
    if keras.backend.backend() == "tensorflow":
        # U is used again for each row of tiles, so no tile is moved in memory. XLA would make copies of both for it.
        u = ops.reshape(u, (_POINTS, 1, _POINTS, *u.shape[1:]))
        return ops.matmul(tiles, _turned(u) if transposed else u)
    products = ops.matmul(_by_place(tiles), _turned(u) if transposed else u)
    products = ops.reshape(products, (_POINTS, _POINTS, tiles.shape[1], -1, u.shape[1 if transposed else 2]))
    return ops.transpose(products, (0, 2, 1, 3, 4))


def _by_place(tiles: Any) -> Any:
    """All tiles of a place together: (6, rows of tiles, 6, n, channels) to (36, rows of tiles · n, channels)."""
    return ops.reshape(ops.transpose(tiles, (0, 2, 1, 3, 4)), (_POINTS**2, -1, tiles.shape[-1]))


def _turned(matrices: Any) -> Any:
    return ops.swapaxes(matrices, -2, -1)


class _Axis:
    """Bᵀ and Aᵀ for all tiles along an axis of `length` pixels.

    Attributes:
        tiles: how many.
        b: (6 · tiles, length), row i · tiles + t is row i of Bᵀ at tile t.
        a: (length, 6 · tiles), in the same order.
    """

    def __init__(self, length: int):
        self.tiles = -(-length // _TILE)
        inputs, outputs = np.zeros((2, _POINTS, self.tiles, length), "float32")
        for tile in range(self.tiles):
            for i in range(_POINTS):
                # A tile's inputs begin one pixel before its outputs.
                pixel = _TILE * tile - 1 + i
                if 0 <= pixel < length:
                    inputs[:, tile, pixel] = _B_TRANSPOSED[:, i]
                pixel = _TILE * tile + i
                if i < _TILE and pixel < length:
                    outputs[:, tile, pixel] = _A_TRANSPOSED[i]
        self.b = inputs.reshape(-1, length)
        self.a = outputs.reshape(-1, length).T
