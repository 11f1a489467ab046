# SPDX-License-Identifier: BSD-3-Clause
"""zelos.starfish: spectral emulators and fits with the interface of Starfish 0.4.

>>> from zelos.starfish import Emulator, Spectrum, SpectrumModel
>>> emulator = Emulator.from_grid("grid.hdf5")
>>> emulator.train()
>>> model = SpectrumModel(emulator, Spectrum(wave, flux, sigma), grid_params=[6000, 4.3, 0.0], vz=10, vsini=5)
>>> model.log_likelihood()

Numerics are in the C++ core (zelos/spectrum.hpp); numpy is all that evaluation needs. Starfish's HDF5 files
need h5py, `train` of a model scipy, plots matplotlib: ``pip install 'zelos[starfish]'``.
"""

from .emulator import Emulator, Training
from .grid import Grid, read_grid
from .model import SpectrumModel
from .outside import Code, Interpolation
from .pca import choose_components
from .residuals import find_residual_peaks, local_kernels
from .runs import read_runs
from .spectrum import Order, Spectrum

__all__ = [
    "Code",
    "Emulator",
    "Grid",
    "Interpolation",
    "Order",
    "Spectrum",
    "SpectrumModel",
    "Training",
    "choose_components",
    "find_residual_peaks",
    "local_kernels",
    "read_grid",
    "read_runs",
]
