# SPDX-License-Identifier: BSD-3-Clause
"""Real codes behind one interface (`driver`), and the workers that run them (`pool`)."""
