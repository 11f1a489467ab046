// SPDX-License-Identifier: BSD-3-Clause
// older_states.hpp: what states of older versions lack, from what they have.
#pragma once

#include "family_support.hpp"

namespace zelos::family {

/// ZELOS_LEFT_OUT_ERRORS (n, outputs) of a state with variance: leave_one_out that opens. Nothing but points, kernel
/// and weights is needed: with Q as in likelihood.hpp the weights are Q y, and the errors (Q y)_i / Q_ii (Rasmussen and
/// Williams 2006, section 5.4.2, with a trend). Training fitted `variance_terms` to the same errors: ZELOS_E_FORMAT if
/// they are not the mean squares of what is found here.
RowMatrix restore_left_out_errors(const zelos_state& state);

}  // namespace zelos::family
