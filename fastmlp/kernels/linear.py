"""The matrix products of a layer, for a block of samples in rows.

``x`` (rows, n_in) and ``delta`` (rows, n_out) are views of the work vector, their rows padded to whole cache lines.
A first layer's ``w`` is (n_in, n_out), a deeper layer's (n_out, n_in); layout.py says why.
"""

from __future__ import annotations

from .decorators import inner


@inner
def first_forward(x, w, b, has_biases, z, rows):
    """z = x w + b with w (n_in, n_out); inputs that are zero are skipped. rows · n_in · n_out multiply-adds."""
    n_in, n_out = w.shape
    for r in range(rows):
        for j in range(n_out):
            z[r, j] = b[j] if has_biases else 0
        for k in range(n_in):
            xk = x[r, k]
            if xk != 0:
                for j in range(n_out):
                    z[r, j] += xk * w[k, j]


@inner
def first_accumulate(x, delta, scale, dw, db, has_biases, rows):
    """dw += scale xᵀ delta with dw (n_in, n_out), db += scale Σ delta; inputs that are zero are skipped."""
    n_in, n_out = dw.shape
    for r in range(rows):
        for k in range(n_in):
            xk = scale * x[r, k]
            if xk != 0:
                for j in range(n_out):
                    dw[k, j] += xk * delta[r, j]
        if has_biases:
            for j in range(n_out):
                db[j] += scale * delta[r, j]


@inner
def forward(x, w, b, has_biases, z, rows):
    """z = x wᵀ + b with w (n_out, n_in). rows · n_in · n_out multiply-adds."""
    n_out, n_in = w.shape
    for r in range(rows):
        for j in range(n_out):
            total = z.dtype.type(0)
            for k in range(n_in):
                total += w[j, k] * x[r, k]
            z[r, j] = total + b[j] if has_biases else total


@inner
def backward(delta, w, dx, rows):
    """dx = delta w with w (n_out, n_in). rows · n_in · n_out multiply-adds."""
    n_out, n_in = w.shape
    for r in range(rows):
        for k in range(n_in):
            dx[r, k] = 0
        for j in range(n_out):
            d = delta[r, j]
            for k in range(n_in):
                dx[r, k] += d * w[j, k]


@inner
def accumulate(x, delta, scale, dw, db, has_biases, rows):
    """dw += scale deltaᵀ x with dw (n_out, n_in), db += scale Σ delta."""
    n_out, n_in = dw.shape
    for r in range(rows):
        for j in range(n_out):
            d = scale * delta[r, j]
            for k in range(n_in):
                dw[j, k] += d * x[r, k]
            if has_biases:
                db[j] += d
