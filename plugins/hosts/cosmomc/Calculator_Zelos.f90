! SPDX-License-Identifier: BSD-3-Clause
!> Calculator_Zelos.f90: CosmoMC's calculator with an emulator of zelos in CAMB's place, and CAMB for what it does not answer.
!>
!>   cosmology_calculator = zelos
!>   zelos_emulator = CAMB_lcdm.h5   an artifact
!>   zelos_tolerance = 0             a delta chi^2: CAMB answers where the 95 % quantile of the predicted error is above it
!>   zelos_fallback = camb           camb | reject (the point has zero likelihood) | error (stop)
!>   zelos_fallback_version = exact  exact: stop if CAMB here differs from the training's; any: take it
!>
!> docs/cosmomc.md says what is to be changed in CosmoMC, and what to check afterwards.
module Calculator_Zelos
  use, intrinsic :: iso_c_binding, only: c_funptr, c_funloc, c_int
  use zelos, only: zelos_error_t, ZELOS_OK
  use zelos_cosmomc
  use CosmologyTypes
  use CosmoTheory
  use Calculator_CAMB
  use config, only: global_error_flag, camb_version => version
  use settings
  use GeneralTypes
  implicit none
  private

  !> What a point of CosmoMC has besides zelos_cosmomc's BASE, and where the physics of each is absent.
  character(len=8), parameter :: FURTHER(9) = [character(len=8) :: 'mnu', 'nnu', 'omk', 'w', 'wa', 'nrun', 'nrunrun', 'r', 'Alens']
  real(mcp), parameter :: NEUTRAL(9) = [0.06_mcp, 3.044_mcp, 0._mcp, -1._mcp, 0._mcp, 0._mcp, 0._mcp, 0._mcp, 1._mcp]
  integer, parameter :: N_DENSITIES = 7, CAMB_HALOFIT_DEFAULT = 9, CAMB_LMAX_MARGIN = 150
  !> P(k, z) is continued in a power law to this k/h, as CosmoMC does from where CAMB ends.
  real(mcp), parameter :: EXTRAP_KMAX = 700
  !> BBN tables differ: CosmoMC's PArthENoPE has a YHe 3e-4 below that of CAMB 2. The limit is a chi2 of 0.7 in cosmic
  !> variance of TT, l <= 2500.
  real(mcp), parameter :: YHE_TOLERANCE = 5e-4_mcp
  integer, parameter :: TRANSFERS_KEPT = 64
  !> Between two writings of the counts: a run may end in MPI_Abort, after which nobody can say anything.
  real(mcp), parameter :: SECONDS_BETWEEN_REPORTS = 2

  type, extends(CAMB_Calculator), public :: Zelos_Calculator
    type(zelos_theory_t), pointer :: emulated => null()
    character(len=:), allocatable :: fallback
    logical :: use_emulator = .false., exact = .true.
    integer :: halofit = 0
    real(mcp) :: tolerance = 0
    !> Addresses of the caches that hold CAMB's transfer functions; other caches are of emulated slow steps.
    integer(8) :: with_transfers(TRANSFERS_KEPT) = 0
    integer :: next_slot = 1
    class(TTheoryIntermediateCache), pointer :: importance => null()
    type(theta_map_t) :: theta
    real(mcp) :: theta_densities(N_DENSITIES) = -1, zre_ratio = 0
    real(mcp) :: reported_at = 0
  contains
    procedure :: ReadParams => Zelos_ReadParams
    procedure :: InitForLikelihoods => Zelos_InitForLikelihoods
    procedure :: VersionTraceOutput => Zelos_VersionTraceOutput
    procedure :: GetNewTransferData => Zelos_GetNewTransferData
    procedure :: GetNewPowerData => Zelos_GetNewPowerData
    procedure :: GetCosmoTheoryForImportance => Zelos_GetTheoryForImportance
    procedure :: CMBToTheta => Zelos_CMBToTheta
    procedure :: GetZreFromTau => Zelos_GetZreFromTau
    procedure, private :: Emulates
    procedure, private :: Fill
    procedure, private :: FillSpectra
    procedure, private :: FillPower
    procedure, private :: Refuse
    procedure, private :: EmulatedBackground
    procedure, private :: Count_Point
  end type

  interface
    function atexit(procedure) bind(C, name="atexit") result(status)
      import :: c_funptr, c_int
      type(c_funptr), value :: procedure
      integer(c_int) :: status
    end function
  end interface

  !> What is reported when the program ends.
  type(zelos_theory_t), pointer, save :: reported => null()
  character(LEN=:), allocatable, save :: outside

contains

  subroutine Zelos_ReadParams(this, Ini)
    class(Zelos_Calculator) :: this
    class(TSettingIni) :: Ini
    type(zelos_error_t) :: error
    character(LEN=:), allocatable :: file, policy

    call this%CAMB_Calculator%ReadParams(Ini)
    this%calcName = 'zelos'
    file = Ini%Read_String_Default('zelos_emulator', '')
    if (file == '') call MpiStop('zelos: cosmology_calculator = zelos needs zelos_emulator = FILE.h5')
    this%tolerance = Ini%Read_Double('zelos_tolerance', 0._mcp)
    if (this%tolerance < 0) call MpiStop('zelos: zelos_tolerance is 0 or a delta chi^2 > 0')
    this%fallback = Ini%Read_String_Default('zelos_fallback', 'camb')
    if (all(this%fallback /= ['camb  ', 'reject', 'error '])) &
      call MpiStop('zelos: zelos_fallback = '//this%fallback//': expected camb, reject or error')
    policy = Ini%Read_String_Default('zelos_fallback_version', 'exact')
    if (all(policy /= ['exact', 'any  '])) &
      call MpiStop('zelos: zelos_fallback_version = '//policy//': expected exact or any')

    allocate (this%emulated)
    call this%emulated%open(file, FURTHER, NEUTRAL, this%tolerance, error)
    if (error%status /= ZELOS_OK) call MpiStop('zelos: '//error%message)
    this%exact = policy == 'exact'
    this%halofit = Ini%Read_Int('halofit_version', CAMB_HALOFIT_DEFAULT)
    if (MpiRank == 0) write (*, '(a)') 'zelos: '//this%emulated%emulator%name()//' '//this%emulated%emulator%version()//' '// &
      this%emulated%emulator%id()
    this%use_emulator = .true.
    if (.not. associated(reported)) then
      if (atexit(c_funloc(Report_At_Exit)) /= 0) call MpiStop('zelos: atexit')
    end if
    reported => this%emulated
    outside = 'rejected'
    if (this%fallback == 'camb') outside = 'by CAMB'
  end subroutine

  !> Now the data sets have said what they want.
  subroutine Zelos_InitForLikelihoods(this)
    class(Zelos_Calculator) :: this
    type(zelos_error_t) :: error
    character(LEN=:), allocatable :: lacking, different

    call this%CAMB_Calculator%InitForLikelihoods()
    different = joined(this%emulated%setting_differences(this%halofit, merge(CosmoSettings%num_massive_neutrinos, 0, &
      CosmoSettings%neutrino_hierarchy == neutrino_hierarchy_degenerate)), this%emulated%pivot_difference(CosmoSettings%pivot_k))
    ! Without a fallback CAMB's version is that of a background alone.
    if (this%fallback == 'camb') different = joined(this%emulated%code_difference(camb_version), different)
    if (different /= '' .and. this%fallback /= 'camb') then
      if (this%exact) call MpiStop('zelos: settings here are not those of the training: '//different// &
        '; zelos_fallback_version = any takes that')
      if (MpiRank == 0) write (*, '(a)') 'zelos: not as in training: '//different
    else if (different /= '') then
      if (this%exact) call MpiStop('zelos: CAMB here is not what the emulator was trained on: '//different// &
        '. The likelihood would jump at the edge of the region; zelos_fallback_version = any takes that')
      if (MpiRank == 0) write (*, '(a)') 'zelos: at the edge of the region the likelihood may jump: '//different
    end if
    lacking = joined(Lacking_Setting(), this%emulated%pivot_difference(CosmoSettings%pivot_k))
    if (lacking == '') then
      call this%emulated%bind(Needs(), error)
      if (error%status /= ZELOS_OK) lacking = error%message
    end if
    if (lacking == '') then
      if (this%tolerance > 0 .and. MpiRank == 0 .and. .not. this%emulated%calibrated()) write (*, '(a)') &
        'zelos: the predicted errors are not calibrated: their 95 % quantile rests on the variances of the training alone'
      return
    end if
    if (index(lacking, 'zelos_tolerance') == 1) call MpiStop('zelos: '//lacking)
    if (this%fallback /= 'camb') call MpiStop('zelos: not emulated: '//lacking)
    this%use_emulator = .false.
    if (MpiRank == 0) write (*, '(a)') 'zelos: CAMB answers everything, for the emulator does not have: '//lacking
  end subroutine

  !> A setting of the run for which there is no emulator; empty if there is none.
  function Lacking_Setting() result(text)
    character(LEN=:), allocatable :: text
    integer :: i, j

    text = ''
    if (.not. CosmoSettings%use_CMB) text = 'a run without CMB'
    if (.not. CosmoSettings%CMB_lensing) text = 'CMB_lensing = F'
    if (.not. CosmoSettings%use_nonlinear_lensing) text = 'use_nonlinear_lensing = F'
    if (CosmoSettings%compute_tensors) text = 'compute_tensors = T'
    if (CosmoSettings%use_sigmaR) text = 'sigma_R'
    if (CosmoSettings%use_Weylpower) text = 'the power spectrum of the Weyl potential'
    if (CosmoSettings%num_cls > 4) text = 'more than four fields'
    do i = 1, CosmoSettings%num_cls
      do j = 1, i - 1
        if (CosmoSettings%cl_lmax(i, j) > 0 .and. .not. (i == CL_E .and. j == CL_T)) text = 'a cross-spectrum other than TE'
      end do
    end do
  end function

  function Needs()
    type(zelos_needs_t) :: Needs
    integer :: n

    Needs%lmax(SPEC_TT) = Computed(CL_T, CL_T)
    ! The template of every spectrum is scaled by TT at the end of what is computed.
    n = min(CL_B, CosmoSettings%num_cls)
    if (any(CosmoSettings%cl_lmax(1:n, 1:n) > CosmoSettings%lmax_computed_cl)) &
      Needs%lmax(SPEC_TT) = CosmoSettings%lmax_computed_cl
    Needs%lmax(SPEC_EE) = Computed(CL_E, CL_E)
    Needs%lmax(SPEC_BB) = Computed(CL_B, CL_B)
    Needs%lmax(SPEC_TE) = Computed(CL_E, CL_T)
    if (CosmoSettings%use_lensing_potential) Needs%lmax(SPEC_PP) = Computed(CL_Phi, CL_Phi)
    Needs%rms_deflect = CosmoSettings%lmax_computed_cl + CAMB_LMAX_MARGIN >= 2000
    allocate (Needs%z_derived, source=CosmoSettings%z_outputs)
    if (CosmoSettings%use_LSS) allocate (Needs%z_growth, source=Redshifts())
    if (CosmoSettings%use_matterpower) then
      allocate (Needs%z_power, source=Redshifts())
      Needs%nonlinear_power = CosmoSettings%use_nonlinear
      Needs%k_max = CosmoSettings%power_kmax
    end if
  end function

  integer function Computed(i, j)
    integer, intent(in) :: i, j
    Computed = 0
    if (max(i, j) <= CosmoSettings%num_cls) Computed = min(CosmoSettings%lmax_computed_cl, CosmoSettings%cl_lmax(i, j))
  end function

  function Redshifts()
    real(mcp), allocatable :: Redshifts(:)
    allocate (Redshifts, source=CosmoSettings%power_redshifts(1:CosmoSettings%num_power_redshifts))
  end function

  !> The point by zelos's names. H0 is what CAMB gets: theta would be the one before the bisection.
  function Values(CMB)
    class(CMBParams) :: CMB
    real(mcp) :: Values(N_BASE + size(FURTHER))

    Values(1:N_BASE) = [CMB%ombh2, CMB%omch2, CMB%H0, CMB%tau, log(CMB%InitPower(As_index)), CMB%InitPower(ns_index)]
    Values(N_BASE + 1:) = [CMB%sum_mnu_standard, CMB%nnu, CMB%omk, CMB%w, CMB%wa, CMB%InitPower(nrun_index), &
                           CMB%InitPower(nrunrun_index), CMB%InitPower(amp_ratio_index), CMB%ALens]
  end function

  !> Physics of a point that no emulator knows by a name; empty if there is none.
  function Unnamed(CMB) result(why)
    class(CMBParams) :: CMB
    character(LEN=:), allocatable :: why

    why = ''
    if (Differs(CMB%omnuh2_sterile, 0._mcp)) why = 'sterile neutrinos'
    if (Differs(CMB%iso_cdm_correlated, 0._mcp)) why = 'isocurvature'
    if (Differs(CMB%zre_delta, 0.5_mcp)) why = 'zre_delta'
    if (Differs(CMB%ALensf, -1._mcp)) why = 'ALensf'
    if (Differs(CMB%fdm, 0._mcp)) why = 'fdm'
    if (Differs(CMB%InitPower(amp_ratio_index), 0._mcp)) then
      if (Differs(CMB%InitPower(nt_index), 0._mcp) .or. Differs(CMB%InitPower(ntrun_index), 0._mcp)) why = 'tensors'
    end if
    if (Differs(CMB%InitPower(Aphiphi_index), 1._mcp)) why = 'Aphiphi'
  end function

  !> Whether the emulator answers for a point; else `why`.
  logical function Emulates(this, CMB, why)
    class(Zelos_Calculator) :: this
    class(CMBParams) :: CMB
    character(LEN=:), allocatable, intent(out) :: why

    Emulates = .false.
    why = Unnamed(CMB)
    if (why == '' .and. .not. this%use_emulator) why = 'settings of the run'
    if (why /= '') return
    Emulates = this%emulated%evaluate(Values(CMB), why)
    if (.not. Emulates) return
    Emulates = CosmoSettings%bbn_consistency
    if (this%emulated%yhe > 0) Emulates = Emulates .and. Within(CMB%YHe, this%emulated%yhe, YHE_TOLERANCE)
    if (.not. Emulates) why = 'YHe not from BBN'
  end function

  subroutine Zelos_GetNewTransferData(this, CMB, Info, Theory, error)
    class(Zelos_Calculator) :: this
    class(CMBParams) CMB
    class(TTheoryIntermediateCache), pointer :: Info
    class(TCosmoTheoryPredictions) :: Theory
    integer error
    character(LEN=:), allocatable :: why

    if (this%Emulates(CMB, why)) then
      call this%EmulatedBackground(CMB, Info, error)
    else if (this%fallback == 'camb') then
      call this%CAMB_Calculator%GetNewTransferData(CMB, Info, Theory, error)
      if (error == 0) call Remember(this, Info)
    else
      call this%Refuse(why, error)
    end if
  end subroutine

  !> A new cache, always: the incoming one is the chain's current point's. It holds CAMB's background, which BAO, supernovae
  !> and the like ask; its transfer functions are not computed.
  subroutine EmulatedBackground(this, CMB, Info, error)
    class(Zelos_Calculator) :: this
    class(CMBParams) CMB
    class(TTheoryIntermediateCache), pointer :: Info
    integer error

    allocate (Info, source=this%DefaultInstance)
    call Forget(this, Info)
    call this%SetParamsForBackground(CMB, Info)
    error = global_error_flag
  end subroutine

  subroutine Zelos_GetNewPowerData(this, CMB, Info, Theory, error)
    class(Zelos_Calculator) :: this
    class(CMBParams) :: CMB
    class(TTheoryIntermediateCache), pointer :: Info
    class(TCosmoTheoryPredictions) :: Theory
    integer error
    character(LEN=:), allocatable :: why

    if (this%Emulates(CMB, why)) then
      call this%Count_Point('')
      call this%Fill(CMB, Theory, .true., .true.)
      return
    end if
    if (this%fallback /= 'camb') then
      call this%Refuse(why, error)
      return
    end if
    call this%Count_Point(why)
    if (.not. any(this%with_transfers == loc(Info))) then
      ! The slow step was emulated; now a fast parameter has left the region.
      this%emulated%late = this%emulated%late + 1
      call this%CAMB_Calculator%GetNewTransferData(CMB, Info, Theory, error)
      if (error /= 0) return
      call Remember(this, Info)
    end if
    call this%CAMB_Calculator%GetNewPowerData(CMB, Info, Theory, error)
  end subroutine

  subroutine Zelos_GetTheoryForImportance(this, CMB, Theory, error)
    class(Zelos_Calculator), target :: this
    class(CMBParams) CMB
    class(TCosmoTheoryPredictions) Theory
    integer error
    character(LEN=:), allocatable :: why

    error = 0
    if (this%Emulates(CMB, why)) then
      if (associated(this%importance)) deallocate (this%importance)
      call this%EmulatedBackground(CMB, this%importance, error)
      if (error /= 0) return
      call this%Count_Point('')
      call this%Fill(CMB, Theory, this%ImportanceOptions%redo_cls, this%ImportanceOptions%redo_pk)
    else if (this%fallback == 'camb') then
      call this%Count_Point(why)
      call this%CAMB_Calculator%GetCosmoTheoryForImportance(CMB, Theory, error)
    else
      call this%Refuse(why, error)
    end if
  end subroutine

  !> Where the user wants no fallback.
  subroutine Refuse(this, why, error)
    class(Zelos_Calculator) :: this
    character(LEN=*), intent(in) :: why
    integer, intent(out) :: error

    if (this%fallback == 'error') call MpiStop('zelos: a point is not emulated: '//why//' (zelos_fallback = error)')
    call this%Count_Point(why)
    error = 1
  end subroutine

  !> Every field that CAMB's calculator fills. Theory is a copy of the chain's current point: what is not set here would
  !> silently keep that point's value. spectra, power: importance sampling may want the one and keep the other.
  subroutine Fill(this, CMB, Theory, spectra, power)
    class(Zelos_Calculator) :: this
    class(CMBParams) :: CMB
    class(TCosmoTheoryPredictions) :: Theory
    logical, intent(in) :: spectra, power
    integer :: n

    associate (emulated => this%emulated)
      n = size(CosmoSettings%z_outputs)
      Theory%numderived = N_THERMO + 2*n
      Theory%derived_parameters = 0
      Theory%derived_parameters(1:N_THERMO) = emulated%thermo
      Theory%derived_parameters(N_THERMO + 1:Theory%numderived:2) = emulated%hubble
      Theory%derived_parameters(N_THERMO + 2:Theory%numderived:2) = emulated%distance
      if (spectra) call this%FillSpectra(CMB, Theory)
      if (.not. power) return
      Theory%sigma_8 = emulated%sigma8
      if (CosmoSettings%use_LSS) then
        if (.not. allocated(Theory%growth_z)) allocate (Theory%growth_z, Theory%sigma8_z)
        call Theory%growth_z%Init(Redshifts(), emulated%growth)
        call Theory%sigma8_z%Init(Redshifts(), emulated%sigma8_z)
      end if
      call Theory%FreePK()
      if (CosmoSettings%use_matterpower) then
        call this%FillPower(Theory%MPK, emulated%power, CMB%h)
        if (CosmoSettings%use_nonlinear) call this%FillPower(Theory%NL_MPK, emulated%power_nl, CMB%h)
      end if
    end associate
  end subroutine

  subroutine FillSpectra(this, CMB, Theory)
    class(Zelos_Calculator) :: this
    class(CMBParams) :: CMB
    class(TCosmoTheoryPredictions) :: Theory
    integer, parameter :: DIAGONAL(3) = [SPEC_TT, SPEC_EE, SPEC_BB]
    integer :: i, j, n

    do i = 1, min(CL_B, CosmoSettings%num_cls)
      do j = i, 1, -1
        if (CosmoSettings%cl_lmax(i, j) == 0) cycle
        Theory%Cls(i, j)%CL = 0
        if (i == j) then
          call Spectrum(this, Theory%Cls(i, j)%CL, DIAGONAL(i), i)
        else
          call Spectrum(this, Theory%Cls(i, j)%CL, SPEC_TE, 4)
        end if
      end do
    end do
    if (CosmoSettings%use_lensing_potential) then
      Theory%Cls(CL_Phi, CL_Phi)%CL = 0
      n = Computed(CL_Phi, CL_Phi)
      Theory%Cls(CL_Phi, CL_Phi)%CL(2:n) = this%emulated%cl(2:n, SPEC_PP)*CMB%InitPower(Aphiphi_index)
    end if
    Theory%Lensing_rms_deflect = this%emulated%rms_deflect
    Theory%tensor_ratio_C10 = 0
    Theory%tensor_ratio_02 = 0
    Theory%tensor_ratio_BB = 0
    Theory%tensor_AT = 0
  end subroutine

  !> CL(2:) to its end: beyond what is computed, the template scaled so that TT is continuous.
  subroutine Spectrum(this, CL, index, template)
    class(Zelos_Calculator) :: this
    real(mcp), intent(inout) :: CL(:)
    integer, intent(in) :: index, template
    integer :: n

    n = min(CosmoSettings%lmax_computed_cl, size(CL))
    CL(2:n) = this%emulated%cl(2:n, index)
    if (n < size(CL)) CL(n + 1:) = this%highL_lensedCL_template(n + 1:size(CL), template)* &
      this%emulated%cl(n, SPEC_TT)/this%highL_lensedCL_template(n, 1)
  end subroutine

  !> ln P((Mpc/h)^3) over ln(k/h) and z.
  subroutine FillPower(this, PK, power, h)
    class(Zelos_Calculator) :: this
    type(TCosmoTheoryPK), allocatable :: PK
    real(mcp), intent(in) :: power(:, :), h
    real(mcp) :: x(size(power, 1) + 1), lnP(size(power, 1) + 1, size(power, 2))
    integer :: n

    n = size(power, 1)
    x(:n) = log(this%emulated%k/h)
    lnP(:n, :) = log(power) + 3*log(h)
    x(n + 1) = log(EXTRAP_KMAX)
    lnP(n + 1, :) = lnP(n, :) + (lnP(n, :) - lnP(n - 1, :))*(x(n + 1) - x(n))/(x(n) - x(n - 1))
    allocate (PK)
    call PK%Init(x, Redshifts(), lnP)
    PK%islog = .true.
  end subroutine

  !> CosmoMC bisects on this at every slow step, 17 calls with all but H0 alike: CAMB answers the first of them.
  real(mcp) function Zelos_CMBToTheta(this, CMB)
    class(Zelos_Calculator) :: this
    class(CMBParams) CMB
    real(mcp) :: densities(N_DENSITIES)
    integer :: i

    densities = [CMB%ombh2, CMB%omch2, CMB%omnuh2, CMB%omnuh2_sterile, CMB%nnu, CMB%w, CMB%wa]
    if (.not. any(Differs(densities, this%theta_densities)) .and. .not. Differs(CMB%omk, 0._mcp)) then
      Zelos_CMBToTheta = this%theta%at(CMB%H0)
      return
    end if
    Zelos_CMBToTheta = this%CAMB_Calculator%CMBToTheta(CMB)
    if (Differs(CMB%omk, 0._mcp)) return
    call this%theta%nodes(CMB%ombh2, CMB%omch2 + CMB%omnuh2)
    ! CAMB's state is the background of this point now.
    call this%theta%set(CMB%H0, Zelos_CMBToTheta, [(this%Hofz(this%theta%z(i)), i=1, N_THETA)], CMB%w, CMB%wa)
    this%theta_densities = densities
  end function

  !> The emulator's, in the ratio of CAMB's to it at the first point of the run (2.1e-4, the same for all tau to 5e-6).
  !> CAMB's for physics that moves it and that the emulator does not know.
  function Zelos_GetZreFromTau(this, CMB, tau) result(z)
    class(Zelos_Calculator) :: this
    class(CMBParams) CMB
    real(mcp), intent(in) :: tau
    real(mcp) :: z, point(N_BASE + size(FURTHER))

    if (this%use_emulator .and. CosmoSettings%bbn_consistency .and. Unnamed(CMB) == '') then
      point = Values(CMB)
      point(4) = tau
      if (this%emulated%zre(point, z)) then
        if (this%zre_ratio <= 0) this%zre_ratio = this%CAMB_Calculator%GetZreFromTau(CMB, tau)/z
        z = z*this%zre_ratio
        return
      end if
    end if
    z = this%CAMB_Calculator%GetZreFromTau(CMB, tau)
  end function

  subroutine Zelos_VersionTraceOutput(this, ReadValues)
    class(Zelos_Calculator) :: this
    class(TNameValueList) :: ReadValues

    if (associated(this%emulated)) then
      call ReadValues%Add('zelos_emulator_name', this%emulated%emulator%name()//' '//this%emulated%emulator%version())
      call ReadValues%Add('zelos_emulator_id', this%emulated%emulator%id())
    end if
    call this%CAMB_Calculator%VersionTraceOutput(ReadValues)
  end subroutine

  subroutine Remember(this, Info)
    class(Zelos_Calculator) :: this
    class(TTheoryIntermediateCache), pointer :: Info

    if (any(this%with_transfers == loc(Info))) return
    this%with_transfers(this%next_slot) = loc(Info)
    this%next_slot = mod(this%next_slot, TRANSFERS_KEPT) + 1
  end subroutine

  !> A cache that was given back may have had the same address.
  subroutine Forget(this, Info)
    class(Zelos_Calculator) :: this
    class(TTheoryIntermediateCache), pointer :: Info
    where (this%with_transfers == loc(Info)) this%with_transfers = 0
  end subroutine

  subroutine Count_Point(this, why)
    class(Zelos_Calculator) :: this
    character(LEN=*), intent(in) :: why
    integer(8) :: ticks, per_second

    call this%emulated%count(why)
    call system_clock(ticks, per_second)
    if (abs(real(ticks, mcp)/per_second - this%reported_at) < SECONDS_BETWEEN_REPORTS) return
    this%reported_at = real(ticks, mcp)/per_second
    call Write_Report()
  end subroutine

  !> FILE_ROOT.zelos, or FILE_ROOT_RANK.zelos as the chain's own files.
  subroutine Write_Report()
    integer :: unit, status

    open (newunit=unit, file=rootname//'.zelos', status='replace', action='write', iostat=status)
    if (status /= 0) return
    call reported%report(unit, '', outside)
    close (unit)
  end subroutine

  subroutine Report_At_Exit() bind(C)
    character(len=32) :: prefix

    if (.not. associated(reported)) return
    if (reported%emulated + reported%real_code == 0) return
    call Write_Report()
    write (prefix, '(a,i0,a)') 'zelos (rank ', MpiRank, '): '
    call reported%report(6, trim(prefix)//' ', outside)
  end subroutine

end module
