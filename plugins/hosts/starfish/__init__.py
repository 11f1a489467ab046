# SPDX-License-Identifier: BSD-3-Clause
"""zelos.starfish: spectral emulators and fits with the interface of Starfish 0.4.

>>> from zelos.starfish import Emulator, Spectrum, SpectrumModel
>>> emulator = Emulator.from_grid("grid.hdf5")
>>> emulator.train()
>>> model = SpectrumModel(emulator, Spectrum(wave, flux, sigma), grid_params=[6000, 4.3, 0.0], vz=10, vsini=5)
>>> model.log_likelihood()

Numerics are in the C++ core (zelos/spectrum.hpp); numpy is all that evaluation needs. Starfish's HDF5 files
need h5py, `train` of a model and draws of spectra scipy, plots matplotlib: ``pip install 'zelos[starfish]'``.
"""

from .emulator import Emulator
from .grid import Grid, GridFile, read_grid
from .instrument import Instrument
from .model import SpectrumModel
from .outside import Code, Interpolation
from .residuals import find_residual_peaks, local_kernels
from .runs import read_runs
from .selection import Choice, choose_components, choose_options
from .spectrum import Order, Spectrum
from .training import Training
from .validation import HeldOut, Validation

__all__ = [
    "Choice",
    "Code",
    "Emulator",
    "Grid",
    "GridFile",
    "HeldOut",
    "Instrument",
    "Interpolation",
    "Order",
    "Spectrum",
    "SpectrumModel",
    "Training",
    "Validation",
    "choose_components",
    "choose_options",
    "find_residual_peaks",
    "local_kernels",
    "read_grid",
    "read_runs",
]
