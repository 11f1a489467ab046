// SPDX-License-Identifier: BSD-3-Clause
// runs.hpp: the runs of the real code, checked before anything is computed from them.
#pragma once

#include <string>

#include "zelos/spec.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// What check_runs says of an output without its values.
void check_shape(const RunOutput& run);

/// Throws Error(ZELOS_E_ARGUMENT) that names output, point and position of the first thing wrong:
/// too few points, nothing where numbers are expected, axes or labels that do not belong to each
/// other, axes that do not ascend, a parameter or (of an output that the spec trains) a value that
/// is not finite.
void check_runs(const Spec& spec, const TrainingRuns& runs);

}  // namespace zelos
