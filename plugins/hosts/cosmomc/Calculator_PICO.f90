! SPDX-License-Identifier: BSD-3-Clause
!> Calculator_PICO.f90: the calculator under the name that CosmoMC's sources already know, so that none of them is changed
!> (docs/cosmomc.md). It has nothing to do with PICO.
module Calculator_PICO
  use Calculator_Zelos, only: Zelos_Calculator
  implicit none
  private
  type, extends(Zelos_Calculator), public :: PICO_Calculator
  end type
end module
