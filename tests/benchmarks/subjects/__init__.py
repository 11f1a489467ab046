# SPDX-License-Identifier: BSD-3-Clause
"""What is measured. A module has TITLE, NOTE, versions() and cases(options): name -> (callable, divisor)."""
