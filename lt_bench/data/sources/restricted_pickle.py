"""Reading pickles that may hold nothing but builtins and numeric numpy arrays."""

from __future__ import annotations

import io
import pickle

import numpy as np

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # its module has been renamed in numpy 2
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of arrays") from None


def load_arrays(data: bytes) -> object:
    """The object pickled in ``data``, text of Python 2 read as Latin-1.

    Nothing is imported or called but what rebuilds a numpy array; UnpicklingError names anything else.
    """
    return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
