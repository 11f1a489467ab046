! SPDX-License-Identifier: BSD-3-Clause
!> drive INI POINTS MODE: takes the calculator through what a chain does with it, and prints lines `name numbers...`.
!>   MODE fallback  emulated and CAMB's steps in the orders that are traps
!>   MODE reject    which physics is refused; theta and z_re; with zelos_fallback = reject nothing runs CAMB's transfers
!>   MODE same      the 20 points of POINTS
!>   MODE short_TT  the same, where no data need as many multipoles of TT as are computed
!>   MODE of a setting (see settings_of): a run that wants what is not emulated, or differs from the training
program drive
  use Calculator_Zelos
  use CosmoTheory
  use GeneralTypes
  use CosmologyTypes
  use settings
  implicit none
  real(mcp), parameter :: POISON = -12345
  type(Zelos_Calculator), target :: calculator
  type(TSettingIni) :: Ini
  character(len=4096) :: ini_file, points_file
  character(len=16) :: mode

  call get_command_argument(1, ini_file)
  call get_command_argument(2, points_file)
  call get_command_argument(3, mode)
  call Ini%Open(trim(ini_file))
  rootname = Ini%Read_String('file_root')
  allocate (CosmoSettings%cl_lmax(4, 4), source=0)
  if (mode == 'fallback') then
    call multipoles(1000, 800)
  else
    call multipoles(2500, 2500)
  end if
  allocate (CosmoSettings%power_redshifts, source=[0._mcp, 0.5_mcp, 1._mcp, 2._mcp])
  CosmoSettings%num_power_redshifts = 4
  call settings_of(mode)
  call calculator%ReadParams(Ini)
  call calculator%InitForLikelihoods()
  call trace()
  select case (mode)
  case ('fallback')
    call fallback()
  case ('reject')
    call reject()
  case ('same', 'short_TT')
    call same()
  end select

contains

  subroutine multipoles(lmax, computed)
    integer, intent(in) :: lmax, computed
    CosmoSettings%lmax_computed_cl = computed
    CosmoSettings%cl_lmax(1, 1) = lmax
    CosmoSettings%cl_lmax(2, 1) = lmax
    CosmoSettings%cl_lmax(2, 2) = lmax
    CosmoSettings%cl_lmax(3, 3) = lmax
    CosmoSettings%cl_lmax(4, 4) = lmax
    CosmoSettings%lmax = lmax
  end subroutine

  subroutine settings_of(mode)
    character(len=*), intent(in) :: mode
    select case (mode)
    case ('tensors')
      CosmoSettings%compute_tensors = .true.
    case ('no_CMB')
      CosmoSettings%use_CMB = .false.
    case ('no_lensing')
      CosmoSettings%CMB_lensing = .false.
    case ('linear_lensing')
      CosmoSettings%use_nonlinear_lensing = .false.
    case ('sigma_R')
      CosmoSettings%use_sigmaR = .true.
    case ('Weyl')
      CosmoSettings%use_Weylpower = .true.
    case ('TB')
      CosmoSettings%cl_lmax(3, 1) = 2500
    case ('short_TT')
      call multipoles(1000, 800)
      CosmoSettings%cl_lmax(1, 1) = 600
    case ('multipoles')
      call multipoles(6000, 6000)
    case ('small_scales')
      CosmoSettings%power_kmax = 100
    case ('hierarchy')
      CosmoSettings%neutrino_hierarchy = 1
    case ('neutrinos')
      CosmoSettings%num_massive_neutrinos = 3
    case ('pivot')
      CosmoSettings%pivot_k = 0.002_mcp
    end select
  end subroutine

  subroutine say(name, values)
    character(len=*), intent(in) :: name
    real(mcp), intent(in) :: values(:)
    write (*, '(a,*(1x,es24.17))') name, values
  end subroutine

  subroutine trace()
    type(TNameValueList) :: list
    call list%Init()
    call calculator%VersionTraceOutput(list)
    print '(a,a)', 'trace_id ', trim(list%ValueOf('zelos_emulator_id'))
  end subroutine

  !> theta (BaseParams(3)) is nonsense: nothing may look at it.
  function point(values) result(CMB)
    real(mcp), intent(in) :: values(6)
    type(CMBParams) :: CMB
    CMB%ombh2 = values(1)
    CMB%omch2 = values(2)
    CMB%H0 = values(3)
    CMB%h = CMB%H0/100
    CMB%tau = values(4)
    CMB%InitPower(As_index) = exp(values(5))
    CMB%InitPower(ns_index) = values(6)
    CMB%InitPower(Aphiphi_index) = 1
    CMB%omnuh2 = 0.06_mcp/94.07_mcp*(3.044_mcp/3)**0.75_mcp
    CMB%YHe = 0.2454_mcp + 0.01_mcp*(CMB%ombh2 - 0.0224_mcp)/0.0224_mcp
    CMB%BaseParams(3) = 77
  end function

  subroutine poisoned(Theory)
    type(TCosmoTheoryPredictions), intent(inout) :: Theory
    integer :: i, j
    if (.not. allocated(Theory%Cls)) allocate (Theory%Cls(4, 4))
    do i = 1, 4
      do j = 1, i
        if (CosmoSettings%cl_lmax(i, j) == 0) cycle
        if (.not. allocated(Theory%Cls(i, j)%CL)) allocate (Theory%Cls(i, j)%CL(CosmoSettings%cl_lmax(i, j)))
        Theory%Cls(i, j)%CL = POISON
      end do
    end do
    Theory%sigma_8 = POISON
    Theory%tensor_ratio_C10 = POISON
    Theory%tensor_ratio_02 = POISON
    Theory%tensor_ratio_BB = POISON
    Theory%tensor_AT = POISON
    Theory%Lensing_rms_deflect = POISON
    Theory%numderived = 0
    Theory%derived_parameters = POISON
    if (.not. allocated(Theory%growth_z)) allocate (Theory%growth_z, Theory%sigma8_z)
    call Theory%growth_z%Init([0._mcp, 1._mcp, 2._mcp, 3._mcp], [POISON, POISON, POISON, POISON])
    call Theory%sigma8_z%Init([0._mcp, 1._mcp, 2._mcp, 3._mcp], [POISON, POISON, POISON, POISON])
    if (.not. allocated(Theory%MPK)) allocate (Theory%MPK)
    call Theory%MPK%Init([0._mcp, 1._mcp, 2._mcp, 3._mcp], [0._mcp, 1._mcp, 2._mcp, 3._mcp], spread([POISON, POISON, POISON, POISON], 2, 4))
  end subroutine

  subroutine show(name, Theory)
    character(len=*), intent(in) :: name
    type(TCosmoTheoryPredictions), intent(in) :: Theory
    call say(name//'.tt', Theory%Cls(1, 1)%CL)
    call say(name//'.te', Theory%Cls(2, 1)%CL)
    call say(name//'.ee', Theory%Cls(2, 2)%CL)
    call say(name//'.bb', Theory%Cls(3, 3)%CL)
    call say(name//'.pp', Theory%Cls(4, 4)%CL)
    call say(name//'.sigma8', [Theory%sigma_8])
    call say(name//'.rms', [Theory%Lensing_rms_deflect])
    call say(name//'.tensors', [Theory%tensor_ratio_C10, Theory%tensor_ratio_02, Theory%tensor_ratio_BB, Theory%tensor_AT])
    call say(name//'.numderived', [real(Theory%numderived, mcp)])
    call say(name//'.derived', Theory%derived_parameters)
    call say(name//'.growth_x', Theory%growth_z%X)
    call say(name//'.growth', Theory%growth_z%F)
    call say(name//'.sigma8_z', Theory%sigma8_z%F)
    if (allocated(Theory%MPK)) then
      call say(name//'.k', exp(Theory%MPK%x))
      call say(name//'.z', Theory%MPK%y)
      call say(name//'.power', exp(reshape(Theory%MPK%z, [size(Theory%MPK%z)])))
    end if
    if (allocated(Theory%NL_MPK)) call say(name//'.power_nl', exp(reshape(Theory%NL_MPK%z, [size(Theory%NL_MPK%z)])))
  end subroutine

  subroutine fallback()
    type(CMBParams) :: CMB, other
    type(TCosmoTheoryPredictions) :: Theory
    class(TTheoryIntermediateCache), pointer :: Info, first, emulated
    real(mcp) :: theta
    integer :: error

    CMB = point([0.0224_mcp, 0.12_mcp, 67.4_mcp, 0.054_mcp, 3.045_mcp, 0.965_mcp])
    other = CMB
    other%H0 = 80
    other%h = 0.8_mcp

    ! A slow step inside, after a bisection has left another H0 behind.
    theta = calculator%CAMB_Calculator%CMBToTheta(other)
    allocate (Info, source=calculator%DefaultInstance)
    first => Info
    call poisoned(Theory)
    error = 0
    call calculator%GetNewTransferData(CMB, Info, Theory, error)
    call say('inside.fresh', [merge(0._mcp, 1._mcp, associated(Info, first))])
    call say('inside.H0', [calculator%Hofz(0._mcp)*299792.458_mcp])
    call calculator%GetNewPowerData(CMB, Info, Theory, error)
    call say('inside.error', [real(error, mcp)])
    call show('inside', Theory)
    emulated => Info

    ! A slow step outside: CAMB's, on a cache of its own.
    other = CMB
    other%tau = 0.3_mcp
    call calculator%GetNewTransferData(other, Info, Theory, error)
    call say('outside.transfers', [real(calculator%n_transfers, mcp)])
    call calculator%GetNewPowerData(other, Info, Theory, error)
    call say('outside.error', [real(error, mcp)])
    call show('outside', Theory)
    ! Its fast step needs no new transfer functions.
    other%InitPower(ns_index) = 0.97_mcp
    call calculator%GetNewPowerData(other, Info, Theory, error)
    call say('outside_fast.transfers', [real(calculator%n_transfers, mcp)])

    ! That proposal was rejected; from the emulated point logA leaves the region in a fast step.
    Info => emulated
    CMB%InitPower(As_index) = exp(3.6_mcp)
    call poisoned(Theory)
    call calculator%GetNewPowerData(CMB, Info, Theory, error)
    call say('late.error', [real(error, mcp)])
    call say('late.transfers', [real(calculator%n_transfers, mcp)])
    call show('late', Theory)

    ! Importance sampling: inside by the emulator, outside by the parent.
    CMB%InitPower(As_index) = exp(3.045_mcp)
    call poisoned(Theory)
    call calculator%GetCosmoTheoryForImportance(CMB, Theory, error)
    call say('importance.error', [real(error, mcp)])
    call show('importance', Theory)
    call only('spectra', CMB, .true., .false.)
    call only('power', CMB, .false., .true.)
    call only('background', CMB, .false., .false.)
    CMB%tau = 0.3_mcp
    call calculator%GetCosmoTheoryForImportance(CMB, Theory, error)
    call say('importance_outside.error', [real(error, mcp)])
  end subroutine

  !> Importance sampling that wants the one and keeps the other.
  subroutine only(name, CMB, spectra, power)
    character(len=*), intent(in) :: name
    type(CMBParams) :: CMB
    logical, intent(in) :: spectra, power
    type(TCosmoTheoryPredictions) :: Theory
    integer :: error
    calculator%ImportanceOptions%redo_cls = spectra
    calculator%ImportanceOptions%redo_pk = power
    call poisoned(Theory)
    call calculator%GetCosmoTheoryForImportance(CMB, Theory, error)
    call say('only_'//name//'.kept', merge(1._mcp, 0._mcp, [Theory%Cls(1, 1)%CL(2), Theory%Cls(4, 4)%CL(2), &
      Theory%Lensing_rms_deflect, Theory%sigma_8, Theory%growth_z%F(1), Theory%derived_parameters(1)] == POISON))
  end subroutine

  subroutine reject()
    type(CMBParams) :: good, CMB
    integer :: i, n

    good = point([0.0224_mcp, 0.12_mcp, 67.4_mcp, 0.054_mcp, 3.045_mcp, 0.965_mcp])
    call try('good', good)
    CMB = good; CMB%zre_delta = 0.6_mcp; call try('zre_delta', CMB)
    CMB = good; CMB%ALens = 1.1_mcp; call try('ALens', CMB)
    CMB = good; CMB%ALensf = 1; call try('ALensf', CMB)
    CMB = good; CMB%nnu = 3.1_mcp; call try('nnu', CMB)
    CMB = good; CMB%sum_mnu_standard = 0.1_mcp; call try('mnu', CMB)
    CMB = good; CMB%omnuh2_sterile = 0.001_mcp; call try('sterile', CMB)
    CMB = good; CMB%omk = 0.01_mcp; call try('omk', CMB)
    CMB = good; CMB%w = -0.9_mcp; call try('w', CMB)
    CMB = good; CMB%wa = 0.1_mcp; call try('wa', CMB)
    CMB = good; CMB%YHe = 0.26_mcp; call try('YHe', CMB)
    CMB = good; CMB%fdm = 0.1_mcp; call try('fdm', CMB)
    CMB = good; CMB%iso_cdm_correlated = 0.1_mcp; call try('isocurvature', CMB)
    CMB = good; CMB%InitPower(nrun_index) = 0.01_mcp; call try('nrun', CMB)
    CMB = good; CMB%InitPower(nrunrun_index) = 0.01_mcp; call try('nrunrun', CMB)
    CMB = good; CMB%InitPower(amp_ratio_index) = 0.1_mcp; call try('r', CMB)
    CMB = good; CMB%InitPower(Aphiphi_index) = 1.1_mcp; call try('Aphiphi', CMB)
    CMB = good; CMB%ombh2 = not_a_number(); call try('nan', CMB)
    ! Of physics that the emulator does not know, or knows as a fixed number, and right after a point that it answered.
    call try('good_too', good)
    CMB = good; CMB%H0 = not_a_number(); call try('nan_H0', CMB)
    CMB = good; CMB%omk = not_a_number(); call try('nan_omk', CMB)
    CMB = good; CMB%sum_mnu_standard = not_a_number(); call try('nan_mnu', CMB)
    CMB = good; CMB%zre_delta = not_a_number(); call try('nan_zre_delta', CMB)
    CMB = good; CMB%YHe = not_a_number(); call try('nan_YHe', CMB)
    CMB = good; CMB%InitPower(amp_ratio_index) = not_a_number(); call try('nan_r', CMB)
    CMB = good; CMB%YHe = good%YHe - 0.5e-4_mcp; call try('good_other_table', CMB)
    CosmoSettings%bbn_consistency = .false.
    call try('YHe_by_hand', good)
    CosmoSettings%bbn_consistency = .true.
    call try('good_again', good)

    ! CAMB is asked for theta once for each set of densities, and gives H(z) there; the others are far from that H0.
    call thetas(good)
    CMB = good; CMB%omch2 = 0.17_mcp; call thetas(CMB)
    CMB = good; CMB%w = -0.8_mcp; CMB%wa = 0.1_mcp; call thetas(CMB)
    CMB = good; CMB%omnuh2 = 3*good%omnuh2; CMB%nnu = 3.5_mcp; call thetas(CMB)
    n = calculator%n_theta
    CMB = good; CMB%omk = 0.01_mcp
    call say('theta_curved', [calculator%CMBToTheta(CMB), calculator%CMBToTheta(CMB), real(calculator%n_theta - n, mcp)])
    CMB = good
    do i = 1, 5
      call say('zre', [0.02_mcp*i, calculator%GetZreFromTau(CMB, 0.02_mcp*i), &
                       calculator%CAMB_Calculator%GetZreFromTau(CMB, 0.02_mcp*i)])
    end do
    call say('zre_outside', [calculator%GetZreFromTau(CMB, 0.3_mcp) - calculator%CAMB_Calculator%GetZreFromTau(CMB, 0.3_mcp)])
    ! Physics that moves reionisation and has no name in zelos.
    CMB%omnuh2_sterile = 0.005_mcp
    CMB%omnuh2 = CMB%omnuh2 + CMB%omnuh2_sterile
    call say('zre_sterile', [calculator%GetZreFromTau(CMB, 0.06_mcp), calculator%CAMB_Calculator%GetZreFromTau(CMB, 0.06_mcp)])
    CMB = good
    CMB%YHe = 0.3_mcp
    CosmoSettings%bbn_consistency = .false.
    call say('zre_YHe', [calculator%GetZreFromTau(CMB, 0.06_mcp), calculator%CAMB_Calculator%GetZreFromTau(CMB, 0.06_mcp)])
    CosmoSettings%bbn_consistency = .true.
    call say('bisection', bisect(good, 0.0104_mcp))
    call say('transfers', [real(calculator%n_transfers, mcp)])
  end subroutine

  !> As the bisection asks: the ends first. H0, theta, CAMB's theta; and how often CAMB was asked.
  subroutine thetas(CMB0)
    type(CMBParams), intent(in) :: CMB0
    type(CMBParams) :: CMB
    real(mcp) :: theta(7)
    real(mcp), parameter :: H0(7) = [40._mcp, 100._mcp, 70._mcp, 55._mcp, 62.5_mcp, 66.25_mcp, 67.4_mcp]
    integer :: i, n
    CMB = CMB0
    n = calculator%n_theta
    do i = 1, 7
      CMB%H0 = H0(i)
      CMB%h = CMB%H0/100
      theta(i) = calculator%CMBToTheta(CMB)
    end do
    n = calculator%n_theta - n
    do i = 1, 7
      CMB%H0 = H0(i)
      CMB%h = CMB%H0/100
      call say('theta', [CMB%H0, theta(i), calculator%CAMB_Calculator%CMBToTheta(CMB), real(n, mcp)])
    end do
  end subroutine

  !> H0 of a theta by 14 halvings of [40, 100], with the emulated and with CAMB's map.
  function bisect(CMB0, theta) result(H0)
    type(CMBParams), intent(in) :: CMB0
    real(mcp), intent(in) :: theta
    type(CMBParams) :: CMB
    real(mcp) :: H0(2), low, high, found
    integer :: i, which
    CMB = CMB0
    do which = 1, 2
      low = 40
      high = 100
      do i = 1, 14
        CMB%H0 = (low + high)/2
        CMB%h = CMB%H0/100
        if (which == 1) then
          found = calculator%CMBToTheta(CMB)
        else
          found = calculator%CAMB_Calculator%CMBToTheta(CMB)
        end if
        if (found < theta) then
          low = CMB%H0
        else
          high = CMB%H0
        end if
      end do
      H0(which) = (low + high)/2
    end do
  end function

  real(mcp) function not_a_number()
    character(len=3) :: text = 'nan'
    read (text, *) not_a_number
  end function

  subroutine try(name, CMB)
    character(len=*), intent(in) :: name
    type(CMBParams) :: CMB
    type(TCosmoTheoryPredictions), save :: Theory
    class(TTheoryIntermediateCache), pointer :: Info
    integer :: error
    call poisoned(Theory)
    error = 0
    nullify (Info)
    call calculator%GetNewTransferData(CMB, Info, Theory, error)
    if (error == 0) call calculator%GetNewPowerData(CMB, Info, Theory, error)
    call say('try.'//name, [real(error, mcp)])
    if (name == 'good') call show('good', Theory)
  end subroutine

  subroutine same()
    real(mcp) :: points(6, 20)
    type(TCosmoTheoryPredictions) :: Theory
    type(CMBParams) :: CMB
    class(TTheoryIntermediateCache), pointer :: Info
    character(len=2) :: number
    integer :: i, error, unit

    open (newunit=unit, file=trim(points_file), access='stream', form='unformatted', status='old')
    read (unit) points
    do i = 1, 20
      CMB = point(points(:, i))
      CMB%YHe = calculator%emulated%yhe
      if (i == 1) CMB%YHe = 0
      call poisoned(Theory)
      error = 0
      ! YHe of the emulator's BBN: known once the point was evaluated.
      call calculator%GetNewTransferData(CMB, Info, Theory, error)
      CMB%YHe = calculator%emulated%yhe
      error = 0
      call calculator%GetNewTransferData(CMB, Info, Theory, error)
      call calculator%GetNewPowerData(CMB, Info, Theory, error)
      write (number, '(i2.2)') i
      call say('p'//number//'.error', [real(error, mcp)])
      call show('p'//number, Theory)
    end do
  end subroutine
end program
