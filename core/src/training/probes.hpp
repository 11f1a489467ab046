// SPDX-License-Identifier: BSD-3-Clause
// probes.hpp: what an artifact is asked when it is opened (see verify_probes).
#pragma once

#include "artifact/container.hpp"
#include "zelos/emulator.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// Adds a few values of every output at a few training points inside the region: the code's own
/// numbers, and those of the emulator, which was opened from these contents. Throws
/// Error(ZELOS_E_ARGUMENT) if no point lies inside.
void add_probes(const Emulator& emulator, const TrainingRuns& runs, artifact::Contents* contents);

}  // namespace zelos
