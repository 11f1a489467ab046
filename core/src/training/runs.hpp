// SPDX-License-Identifier: BSD-3-Clause
// runs.hpp: the runs of the real code, checked before anything is computed from them.
#pragma once

#include <string>

#include "zelos/spec.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// Throws Error(ZELOS_E_ARGUMENT) that names output, point and position of the first thing wrong:
/// too few points, nothing where numbers are expected, axes or labels that do not belong to each
/// other, axes that do not ascend, a parameter or (of an output that the spec trains) a value that
/// is not finite.
void check_runs(const Spec& spec, const TrainingRuns& runs);

/// Throws Error(ZELOS_E_ARGUMENT) with the names that there are.
const RunOutput& find_run(const TrainingRuns& runs, const std::string& name);

}  // namespace zelos
