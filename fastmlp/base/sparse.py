"""Sparse rows: SciPy's CSR matrices in the form that kernels read, without SciPy, and never made dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["SparseRows"]


@dataclass(frozen=True)
class SparseRows:
    """A matrix whose non-zero values are stored row by row.

    Row i has the values ``data[indptr[i]:indptr[i + 1]]`` in the columns ``indices[indptr[i]:indptr[i + 1]]``. If a
    column is twice in a row, its values are added, as in SciPy.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: Any, name: str) -> SparseRows:
        """Convert any SciPy sparse matrix or array; CSR is not copied. Wrong indices are a ValueError."""
        csr = matrix.tocsr()
        data, indices, indptr = np.asarray(csr.data), np.asarray(csr.indices), np.asarray(csr.indptr)
        wide = np.int64 if indices.dtype.itemsize == 8 or indptr.dtype.itemsize == 8 else np.int32
        indices, indptr = (np.ascontiguousarray(array, dtype=wide) for array in (indices, indptr))
        n_rows, n_columns = csr.shape
        sound = len(indptr) == n_rows + 1 and indptr[0] == 0 and indptr[-1] <= min(len(data), len(indices))
        sound = sound and not np.any(np.less(indptr[1:], indptr[:-1]))  # differences could wrap around
        columns = indices[: indptr[-1]] if sound else indices[:0]
        if not sound or (columns.size and (columns.min() < 0 or columns.max() >= n_columns)):
            raise ValueError(f"{name} is a broken sparse matrix: its indices do not fit its shape {csr.shape}")
        return cls(np.ascontiguousarray(data), indices, indptr, (n_rows, n_columns))

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_values(self) -> int:
        """The number of stored values in all rows."""
        return int(self.indptr[-1])

    def toarray(self) -> np.ndarray:
        """Return the dense matrix, with the dtype of ``data``."""
        dense = np.zeros(self.shape, self.data.dtype)
        n_values = self.n_values
        rows = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        np.add.at(dense, (rows, self.indices[:n_values]), self.data[:n_values])
        return dense
