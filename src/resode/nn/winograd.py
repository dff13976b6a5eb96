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
from keras import ops, tree

from resode.nn.loops import on_cpu

_TILE, _POINTS = 4, 6
# Input channels from which products are faster.
LEAST_CHANNELS = 64
_B_TRANSPOSED = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                          [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])  # fmt: skip
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
# G · Gᵀ on kernels written as columns of 9 numbers.
_G_TWICE = np.kron(_G, _G).astype("float32")
_A_TRANSPOSED = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def is_faster(height: int, width: int, channels: int) -> bool:
    """Return whether products may be faster than direct convolutions of (height, width) images with kernels (3, 3, channels, ·).

    On a CPU, with channels enough to outweigh the transforms, and where the tiles at the edges are mostly image; on a GPU cuDNN
    has this algorithm itself. It knows neither processor nor batch: a training measures besides, see `training.convolutions`.
    """
    tiles = _Axis(height).tiles * _Axis(width).tiles
    return on_cpu() and channels >= LEAST_CHANNELS and 2 * _POINTS**2 * tiles <= 9 * height * width


def sharing_pays(height: int, width: int, channels: int) -> bool:
    """Return whether `Shared` is faster for images of (height, width): where U, at batch 32, is at least twice as large as V."""
    return channels >= 64 * _Axis(height).tiles * _Axis(width).tiles


class Winograd:
    """The convolutions of images of one size, with stride 1 and "same" padding.

    Images are (height, width, batch, channels): so each transform is a product with a matrix on the left.

    Args:
        height, width: of the images; no multiples of 4 are needed.
    """

    def __init__(self, height: int, width: int):
        rows, columns = _Axis(height), _Axis(width)
        self._size, self.tiles = (height, width), rows.tiles * columns.tiles
        # The matrices of 𝐁 and 𝐀 on rows and columns, and the first axes of V and M: places, rows of tiles, places.
        self._b, self._a = (rows.b, columns.b), (rows.a, columns.a)
        self._axes = (_POINTS, rows.tiles, _POINTS)
        if self.tiles == 1:
            # One matrix for rows and columns together; for more tiles it would be mostly zeros.
            self._b, self._a = (np.kron(rows.b, columns.b),), (np.kron(rows.a, columns.a),)
            self._axes = (_POINTS**2, 1, 1)

    def convolve(self, x: Any, kernel: Any) -> Any:
        """The convolution K x with a kernel (3, 3, in, out); (height, width, batch, in) to (height, width, batch, out)."""
        return self._product(x, kernel, self._b, self._a)

    def convolve_transposed(self, y: Any, kernel: Any) -> Any:
        """Its adjoint Kᵀ y with the same kernel; (height, width, batch, out) to (height, width, batch, in)."""
        return self._product(y, kernel, _adjoint(self._a), _adjoint(self._b), transposed=True)

    def _product(self, x: Any, kernel: Any, before: tuple, after: tuple, transposed: bool = False) -> Any:
        """The images that follow from x by the matrices `before`, the products with U, or Uᵀ, and the matrices `after`.

        The gradient is written out to save memory: automatic differentiation would keep V, which is 2.25 times as large as x,
        of every step, and XLA the gradients of U, each four times as large as the kernel, until all are there to be summed.
        """
        shared = kernel if isinstance(kernel, Shared) else None

        @ops.custom_gradient
        def product(x: Any, *weights: Any) -> tuple:
            u = shared.u if shared else _transformed(*weights)

            def gradient(dy: Any) -> tuple:
                products = self._transform(dy, _adjoint(after))
                dx = self._image(_times(products, u, not transposed), _adjoint(before))
                # The zero makes V depend on dy: otherwise the compiler makes it in the forward pass and keeps it.
                v = self._transform(x + 0.0 * dy[0, 0, 0, 0], before)
                factors = [_by_place(one) for one in ((products, v) if transposed else (v, products))]
                return dx, *(factors if shared else (_kernel_gradient(*factors),))

            return self._image(_times(self._transform(x, before), u, transposed), after), gradient

        return product(x, *(shared.take() if shared else (ops.copy(kernel),)))

    def _transform(self, x: Any, matrices: tuple) -> Any:
        """The transformed tiles of images x, (*axes, rest of the tiles · batch, channels)."""
        return ops.reshape(_on_the_left(matrices, x), (*self._axes, -1, x.shape[-1]))

    def _image(self, products: Any, matrices: tuple) -> Any:
        """The images (height, width, batch, channels) of `products`, which are in the order of `_transform`."""
        return ops.reshape(_on_the_left(matrices, products), (*self._size, -1, products.shape[-1]))


# One for each size of image.
of_size = cache(Winograd)


class Shared:
    """A kernel of several convolutions, whose gradient is one product for all of them.

    The gradients by U and by the M of all convolutions are U'_ij = Σ V_ijᵀ M'_ij: the product of all V and M', one below the other,
    which is transformed to the kernel's 9 places once. Automatic differentiation brings them here: each convolution takes two
    zeros, and gives V and M' as the gradients by them.

    Args:
        kernel: (3, 3, in, out).
        convolutions: how many; each has to be made.
        rows: tiles · batch, the rows of V at each place.
    """

    def __init__(self, kernel: Any, convolutions: int, rows: Any):
        self.u = _transformed(ops.stop_gradient(kernel))

        @ops.custom_gradient
        def zeros(kernel: Any) -> tuple:
            shapes = ((_POINTS**2, rows, channels) for channels in kernel.shape[2:])
            inputs, outputs = (ops.zeros(shape, kernel.dtype) for shape in shapes)

            def gradient(*factors: Any) -> Any:
                factors = tree.flatten(factors)
                return _kernel_gradient(*(ops.concatenate(side, axis=1) for side in (factors[::2], factors[1::2])))

            return (inputs, outputs) * convolutions, gradient

        self._zeros = list(zeros(kernel))

    def take(self) -> tuple[Any, Any]:
        """The zeros of one convolution."""
        return self._zeros.pop(0), self._zeros.pop(0)


def _transformed(kernel: Any) -> Any:
    """U = G K Gᵀ of a kernel (3, 3, in, out): (36, in, out)."""
    return ops.reshape(ops.matmul(_G_TWICE, ops.reshape(kernel, (9, -1))), (_POINTS**2, *kernel.shape[2:]))


def _kernel_gradient(inputs: Any, outputs: Any) -> Any:
    """The gradient (3, 3, in, out) by the kernel, of V and of the gradient by M: (36, rows, in) and (36, rows, out)."""
    du = ops.matmul(ops.swapaxes(inputs, -2, -1), outputs)
    return ops.reshape(ops.matmul(_G_TWICE.T, ops.reshape(du, (_POINTS**2, -1))), (3, 3, *du.shape[1:]))


def _on_the_left(matrices: tuple[np.ndarray, ...], x: Any) -> Any:
    """`matrices` on the first axes of x, one each; the rest of the axes become one."""
    first, *second = matrices
    x = ops.matmul(first, ops.reshape(x, (first.shape[1], -1)))
    for matrix in second:
        x = ops.matmul(matrix, ops.reshape(x, (len(first), matrix.shape[1], -1)))
    return x


def _adjoint(matrices: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(matrix.T for matrix in matrices)


def _times(tiles: Any, u: Any, transposed: bool) -> Any:
    """The products of `tiles` in the order of `Winograd._transform` with U, or Uᵀ, at each place; in the same order."""
    places, rows, more = tiles.shape[:3]
    if keras.backend.backend() == "tensorflow":
        # U is used again for each row of tiles, so no tile is moved in memory. XLA would make copies of both for it.
        u = ops.reshape(u, (places, 1, more, *u.shape[1:]))
        return ops.matmul(tiles, ops.swapaxes(u, -2, -1) if transposed else u)
    products = ops.matmul(_by_place(tiles), ops.swapaxes(u, -2, -1) if transposed else u)
    products = ops.reshape(products, (places, more, rows, -1, u.shape[1 if transposed else 2]))
    return ops.transpose(products, (0, 2, 1, 3, 4))


def _by_place(tiles: Any) -> Any:
    """All tiles of a place together: (places, rows of tiles, places, n, channels) to (36, rows of tiles · n, channels)."""
    return ops.reshape(ops.transpose(tiles, (0, 2, 1, 3, 4)), (_POINTS**2, -1, tiles.shape[-1]))


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
