"""How fast fastmlp is, commit by commit. BLAS has one thread, like all that is measured in processor time."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
