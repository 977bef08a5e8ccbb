"""What do the first import and the first training of a process cost?"""

from __future__ import annotations

import os
import tempfile

from ..measuring import OF_ITS_TIME, Found, series, skipping
from ..networks import first_module, short
from ..startup import FIRST_TRAINING, IMPORT, NUMBA, seconds

NUMBA_ALONE = "import numba, for comparison"
CHECKOUT = {
    "import fastmlp": IMPORT,
    "import and first training, kernels in the cache": FIRST_TRAINING,
    NUMBA_ALONE: NUMBA,
}
WHEEL = "import and first training, kernels of a wheel"
EMPTY = "import and first training, empty cache: compiling"


def from_a_wheel() -> dict[str, float]:
    """Skipped where the installation has no prebuilt kernels that this machine can use."""
    prebuilt = first_module("fastmlp.kernels.prebuilt")
    try:
        prebuilt.in_use()
    except prebuilt.Unusable as reason:
        raise NotImplementedError(str(reason)) from None
    return {"seconds": seconds(FIRST_TRAINING, os.devnull, prebuilt="1")}


class Start:
    """Beyond the import of NumPy, in fresh processes: the least of several, processor time of all that they start."""

    def setup_cache(self) -> Found:
        found = {WHEEL: skipping(from_a_wheel)}
        with tempfile.TemporaryDirectory() as folder:
            found[EMPTY] = skipping(lambda: {"seconds": seconds(FIRST_TRAINING, folder, 1)})
            for row, script in CHECKOUT.items():
                found[row] = skipping(lambda script=script: {"seconds": seconds(script, folder)})
        for of_row in found.values():
            if "seconds" in of_row:
                of_row["share"] = {"numba": short(of_row["seconds"] / found[NUMBA_ALONE]["seconds"])}
        return found

    setup_cache.timeout = 600
    track_seconds = series("seconds", [*CHECKOUT, WHEEL, EMPTY], "Cold start, checkout and wheel, seconds", "s")
    track_share_of_numba = series(
        "share", [*list(CHECKOUT)[:2], WHEEL], "Beside the import of Numba: cold start", OF_ITS_TIME, "numba"
    )
