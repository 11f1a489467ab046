! SPDX-License-Identifier: BSD-3-Clause
!> host.f90: as much of a sampler as a calculator sees, with CAMB's Fortran behind it: the abstract types, the members and the
!> procedures that Calculator_Zelos.f90 uses, by the names that CosmoMC has for them. The calculator is written anew for the
!> test; it computes what docs/cosmomc.md lists with cheap settings.
module settings
  use MpiUtils, only: MpiStop
  use IniObjects
  implicit none
  integer, parameter :: mcp = kind(1.d0)
  integer :: Feedback = 0, MpiRank = 0
  character(len=:), allocatable :: rootname
  type, extends(TIniFile) :: TSettingIni
  end type
end module

module GeneralTypes
  use settings
  implicit none
  type TTheoryParams
    real(mcp) :: BaseParams(50) = 0
  end type
  type TTheoryIntermediateCache
  end type
  type TTheoryPredictions
  end type
  type TTheoryCalculator
    character(len=128) :: calcName = ''
  end type
end module

module CosmologyTypes
  use settings
  use GeneralTypes
  implicit none
  integer, parameter :: As_index = 1, ns_index = 2, nrun_index = 3, nrunrun_index = 4, amp_ratio_index = 5, nt_index = 6, &
    ntrun_index = 7, Aphiphi_index = 8, max_derived_parameters = 30, CL_T = 1, CL_E = 2, CL_B = 3, CL_Phi = 4, &
    neutrino_hierarchy_degenerate = 3
  type TCosmoTheorySettings
    logical :: get_sigma8 = .true., use_LSS = .true., use_CMB = .true., use_nonlinear = .true., CMB_lensing = .true., &
      use_lensing_potential = .true., use_nonlinear_lensing = .true., compute_tensors = .false., use_matterpower = .true., &
      use_Weylpower = .false., use_sigmaR = .false., bbn_consistency = .true.
    integer :: neutrino_hierarchy = neutrino_hierarchy_degenerate, num_massive_neutrinos = 1
    integer :: lmax = 0, num_cls = 4, lmax_computed_cl = 800, num_power_redshifts = 0
    real(mcp) :: z_outputs(5) = [0.15_mcp, 0.38_mcp, 0.51_mcp, 0.61_mcp, 2.33_mcp], pivot_k = 0.05_mcp, power_kmax = 0.8_mcp
    integer, allocatable :: cl_lmax(:, :)
    real(mcp), allocatable :: power_redshifts(:)
  end type
  type(TCosmoTheorySettings), save, target :: CosmoSettings
  type, extends(TTheoryParams) :: CMBParams
    real(mcp) :: InitPower(10) = 0, omk = 0, ombh2 = 0, omch2 = 0, omnuh2 = 0, zre = 0, zre_delta = 0.5_mcp, h = 0, H0 = 0, tau = 0, &
      w = -1, wa = 0, YHe = 0, nnu = 3.044_mcp, iso_cdm_correlated = 0, ALens = 1, ALensf = -1, fdm = 0, omnuh2_sterile = 0, &
      sum_mnu_standard = 0.06_mcp
  end type
end module

module CosmoTheory
  use CosmologyTypes
  use Interpolation
  implicit none
  type, extends(TInterpGrid2D) :: TCosmoTheoryPK
    logical :: islog = .true.
  contains
    procedure :: PowerAt
  end type
  type TSkyPowerSpectrum
    real(mcp), allocatable :: CL(:)
  end type
  type, extends(TTheoryPredictions) :: TCosmoTheoryPredictions
    type(TSkyPowerSpectrum), allocatable :: Cls(:, :)
    real(mcp) :: sigma_8, tensor_ratio_C10, tensor_ratio_02, tensor_ratio_BB, tensor_AT, Lensing_rms_deflect
    integer :: numderived = 0
    real(mcp) :: derived_parameters(max_derived_parameters)
    type(TCosmoTheoryPK), allocatable :: MPK, NL_MPK, MPK_WEYL, NL_MPK_WEYL, MPK_WEYL_CROSS, NL_MPK_WEYL_CROSS
    type(TCubicSpline), allocatable :: growth_z, sigma8_z, sigma_R
  contains
    procedure :: FreePK
  end type
contains
  function PowerAt(PK, k, z) result(p)
    class(TCosmoTheoryPK) :: PK
    real(mcp), intent(in) :: k, z
    real(mcp) :: p
    p = PK%Value(log(k), z)
    if (PK%islog) p = exp(p)
  end function
  subroutine FreePK(this)
    class(TCosmoTheoryPredictions) :: this
    if (allocated(this%MPK)) deallocate (this%MPK)
    if (allocated(this%NL_MPK)) deallocate (this%NL_MPK)
  end subroutine
end module

module Calculator_Cosmology
  use CosmoTheory
  implicit none
  type TCosmologyImportanceOptions
    logical :: redo_cls = .true., redo_pk = .true.
  end type
  type, extends(TTheoryCalculator) :: TCosmologyCalculator
    type(TCosmologyImportanceOptions) :: ImportanceOptions
  end type
end module

module Calculator_CAMB
  use Calculator_Cosmology
  use CAMB, only: CAMBdata, CAMBParams, CAMB_SetDefParams, CAMB_GetResults, CAMB_TransfersToPowers, TInitialPowerLaw, NonLinear_both
  use config
  use constants, only: COBE_CMBTemp, c
  use Reionization, only: TTanhReionization
  use NonLinear, only: THalofit
  use DarkEnergyInterface, only: TDarkEnergyEqnOfState
  implicit none
  private
  type, extends(TTheoryIntermediateCache) :: CAMBTransferCache
    type(CAMBdata) :: State
  end type
  type, extends(TCosmologyCalculator) :: CAMB_Calculator
    integer :: n_transfers = 0, n_theta = 0
    real(mcp), allocatable :: highL_lensedCL_template(:, :)
    type(CAMBTransferCache) :: DefaultInstance
    class(CAMBdata), pointer :: CurrentState => null()
  contains
    procedure :: ReadParams
    procedure :: InitForLikelihoods
    procedure :: VersionTraceOutput
    procedure :: SetParamsForBackground
    procedure :: GetNewTransferData
    procedure :: GetNewPowerData
    procedure :: GetCosmoTheoryForImportance
    procedure :: CMBToTheta
    procedure :: GetZreFromTau
    procedure :: Hofz
  end type
  integer :: halofit_version = 9
  public CAMB_Calculator
contains
  subroutine ReadParams(this, Ini)
    class(CAMB_Calculator) :: this
    class(TSettingIni) :: Ini
    this%calcName = 'CAMB'
    halofit_version = Ini%Read_Int('halofit_version', 9)
  end subroutine
  subroutine InitForLikelihoods(this)
    class(CAMB_Calculator) :: this
    integer :: l
    !> A power law of its own for each spectrum: as good as any.
    if (allocated(this%highL_lensedCL_template)) return
    allocate (this%highL_lensedCL_template(2:8000, 4))
    do l = 2, 8000
      this%highL_lensedCL_template(l, :) = [1._mcp, 0.1_mcp, 0.01_mcp, -0.2_mcp]*(1000._mcp/l)**2
    end do
  end subroutine
  subroutine VersionTraceOutput(this, ReadValues)
    class(CAMB_Calculator) :: this
    class(TNameValueList) :: ReadValues
    call ReadValues%Add('Compiled_CAMB_version', version)
  end subroutine
  subroutine ToCAMB(CMB, P)
    class(CMBParams) :: CMB
    type(CAMBParams) :: P
    integer :: i, n
    call CAMB_SetDefParams(P)
    P%ombh2 = CMB%ombh2
    P%omch2 = CMB%omch2
    P%omk = CMB%omk
    P%H0 = CMB%H0
    P%YHe = CMB%YHe
    P%Max_l = CosmoSettings%lmax_computed_cl + 150
    P%Max_eta_k = 6000
    P%WantTransfer = .true.
    P%Transfer%kmax = CosmoSettings%power_kmax
    n = CosmoSettings%num_power_redshifts
    P%Transfer%PK_num_redshifts = n
    do i = 1, n
      P%Transfer%PK_redshifts(i) = CosmoSettings%power_redshifts(n - i + 1)
    end do
    P%NonLinear = NonLinear_both
    P%share_delta_neff = .false.
    P%Num_Nu_Massless = CMB%nnu
    P%omnuh2 = CMB%omnuh2
    call P%SetNeutrinoHierarchy(CMB%omnuh2, 0._mcp, CMB%nnu, CosmoSettings%neutrino_hierarchy, &
                                CosmoSettings%num_massive_neutrinos)
    select type (D => P%DarkEnergy)
    class is (TDarkEnergyEqnOfState)
      D%w_lam = CMB%w
      D%wa = CMB%wa
    end select
    select type (R => P%Reion)
    class is (TTanhReionization)
      R%optical_depth = CMB%tau
      R%use_optical_depth = .true.
      R%delta_redshift = CMB%zre_delta
    end select
    select type (N => P%NonLinearModel)
    class is (THalofit)
      N%halofit_version = halofit_version
    end select
    call SetPower(CMB, P)
  end subroutine
  subroutine SetPower(CMB, P)
    class(CMBParams) :: CMB
    type(CAMBParams) :: P
    select type (I => P%InitPower)
    class is (TInitialPowerLaw)
      I%As = 1e-10_mcp*CMB%InitPower(As_index)
      I%ns = CMB%InitPower(ns_index)
      I%pivot_scalar = CosmoSettings%pivot_k
    end select
  end subroutine
  subroutine SetParamsForBackground(this, CMB, Info)
    class(CAMB_Calculator) :: this
    class(CMBParams) CMB
    class(TTheoryIntermediateCache), target :: Info
    type(CAMBParams) :: P
    select type (Info)
    class is (CAMBTransferCache)
      call ToCAMB(CMB, P)
      call Info%State%SetParams(P)
      this%CurrentState => Info%State
    end select
  end subroutine
  real(mcp) function CMBToTheta(this, CMB)
    class(CAMB_Calculator) :: this
    class(CMBParams) CMB
    class(TTheoryIntermediateCache), pointer, save :: scratch => null()
    this%n_theta = this%n_theta + 1
    if (.not. associated(scratch)) allocate (scratch, source=this%DefaultInstance)
    call this%SetParamsForBackground(CMB, scratch)
    CMBToTheta = this%CurrentState%CosmomcTheta()
  end function
  function GetZreFromTau(this, CMB, tau) result(z)
    class(CAMB_Calculator) :: this
    class(CMBParams) CMB
    real(mcp), intent(in) :: tau
    real(mcp) :: z
    type(CAMBParams) :: P
    type(TTanhReionization) :: R
    call ToCAMB(CMB, P)
    z = R%GetZreFromTau(P, tau)
  end function
  real(mcp) function Hofz(this, z)
    class(CAMB_Calculator) :: this
    real(mcp), intent(in) :: z
    Hofz = this%CurrentState%Hofz(z)
  end function
  subroutine GetNewTransferData(this, CMB, Info, Theory, error)
    class(CAMB_Calculator) :: this
    class(CMBParams) CMB
    class(TTheoryIntermediateCache), pointer :: Info
    class(TCosmoTheoryPredictions) :: Theory
    integer error, i
    type(CAMBParams) :: P
    this%n_transfers = this%n_transfers + 1
    allocate (Info, source=this%DefaultInstance)
    select type (Info)
    class is (CAMBTransferCache)
      call ToCAMB(CMB, P)
      this%CurrentState => Info%State
      call CAMB_GetResults(Info%State, P, error, onlytransfer=.true.)
      Theory%numderived = 23
      Theory%derived_parameters(1:13) = Info%State%ThermoDerivedParams(1:13)
      do i = 1, 5
        Theory%derived_parameters(12 + 2*i) = Info%State%Hofz(CosmoSettings%z_outputs(i))*c/1e3_mcp
        Theory%derived_parameters(13 + 2*i) = Info%State%ComovingRadialDistance(CosmoSettings%z_outputs(i))
      end do
    end select
  end subroutine
  subroutine GetNewPowerData(this, CMB, Info, Theory, error)
    class(CAMB_Calculator) :: this
    class(CMBParams) :: CMB
    class(TTheoryIntermediateCache), pointer :: Info
    class(TCosmoTheoryPredictions) :: Theory
    integer error, i, j, lm
    integer, parameter :: column(3, 3) = reshape([1, 4, 0, 0, 2, 0, 0, 0, 3], [3, 3])
    select type (Info)
    class is (CAMBTransferCache)
      call SetPower(CMB, Info%State%CP)
      call CAMB_TransfersToPowers(Info%State)
      do i = 1, 3
        do j = 1, i
          if (CosmoSettings%cl_lmax(i, j) == 0) cycle
          lm = min(CosmoSettings%lmax_computed_cl, CosmoSettings%cl_lmax(i, j))
          Theory%Cls(i, j)%CL = 0
          Theory%Cls(i, j)%CL(2:lm) = (COBE_CMBTemp*1e6_mcp)**2*Info%State%CLData%Cl_lensed(2:lm, column(i, j))
        end do
      end do
      lm = min(CosmoSettings%lmax_computed_cl, CosmoSettings%cl_lmax(CL_Phi, CL_Phi))
      Theory%Cls(CL_Phi, CL_Phi)%CL = 0
      ! CAMB keeps l^4 C_l^phiphi.
      Theory%Cls(CL_Phi, CL_Phi)%CL(2:lm) = [(Info%State%CLData%Cl_scalar(i, 4)*(i + 1._mcp)**2/i**2/(2*acos(-1._mcp)), i=2, lm)]
      Theory%sigma_8 = Info%State%MT%sigma_8(size(Info%State%MT%sigma_8))
    end select
  end subroutine
  subroutine GetCosmoTheoryForImportance(this, CMB, Theory, error)
    class(CAMB_Calculator), target :: this
    class(CMBParams) CMB
    class(TCosmoTheoryPredictions) Theory
    integer error
    error = 77
  end subroutine
end module
