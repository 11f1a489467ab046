# SPDX-License-Identifier: BSD-3-Clause
"""zelos_build: from a spec to an artifact. Needs the extra ``zelos[build]``."""
