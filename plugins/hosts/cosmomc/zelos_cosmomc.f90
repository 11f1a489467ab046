! SPDX-License-Identifier: BSD-3-Clause
!> zelos_cosmomc.f90: from plain numbers to what CosmoMC keeps of a point, in CosmoMC's units. Knows zelos and no name of
!> CosmoMC; Calculator_Zelos.f90 carries the numbers to and fro. No check here depends on NaN, which -ffast-math forgets:
!> libzelos answers ZELOS_E_NUMERIC where a result is not finite.
module zelos_cosmomc
  use, intrinsic :: iso_c_binding, only: c_double, c_int64_t
  use zelos
  implicit none
  private

  integer, parameter :: dp = c_double
  integer, parameter, public :: SPEC_TT = 1, SPEC_EE = 2, SPEC_BB = 3, SPEC_TE = 4, SPEC_PP = 5
  character(len=2), parameter :: SPECTRA(5) = ['tt', 'ee', 'bb', 'te', 'pp']
  !> The parameters that every point has, in this order: those without which no spectrum is defined.
  character(len=8), parameter :: BASE(6) = ['ombh2   ', 'omch2   ', 'H0      ', 'tau     ', 'logA    ', 'ns      ']
  integer, parameter, public :: N_BASE = size(BASE), N_THERMO = 13
  !> CosmoMC's derived parameters 1 to 13, and what to multiply the emulated ones by.
  character(len=9), parameter :: THERMO(N_THERMO) = ['age      ', 'zstar    ', 'rstar    ', 'thetastar', 'DAstar   ', &
    'zdrag    ', 'rdrag    ', 'kd       ', 'thetad   ', 'zeq      ', 'keq      ', 'thetaeq  ', 'thetarseq']
  real(dp), parameter :: THERMO_FACTOR(N_THERMO) = [1, 1, 1, 100, 1, 1, 1, 1, 1, 1, 1, 1, 1]
  integer, parameter :: MAX_REASONS = 40, RMS_LMAX = 2000
  real(dp), parameter :: PI = acos(-1.0_dp), SPEED_OF_LIGHT = 299792.458_dp

  !> What a run wants of every point.
  type, public :: zelos_needs_t
    integer :: lmax(5) = 0                  !< per spectrum, 0 for none
    logical :: rms_deflect = .false.        !< needs PP to 2000
    real(dp), allocatable :: z_growth(:)    !< ascending; sigma8(z) and f sigma8(z) there
    real(dp), allocatable :: z_derived(:)   !< H and D_M there, in any order
    real(dp), allocatable :: z_power(:)     !< ascending; P(k, z) there
    logical :: nonlinear_power = .false.    !< as well as the linear one
    real(dp) :: k_max = 0                   !< 1/Mpc, of P(k, z)
  end type

  !> What became of a point, per reason.
  type :: reason_t
    character(len=64) :: text = ''
    integer :: count = 0
  end type

  !> CosmoMC's theta at any H0, from what CAMB has at one. With the physical densities fixed, as in CosmoMC's bisection for H0,
  !> the sound horizon and z_* are, and theta goes with 1/D_M(z_*), here by Gauss and Legendre in ln(1+z), to 1e-10.
  !> For flat models whose dark energy has w and wa.
  integer, parameter, public :: N_THETA = 32
  type, public :: theta_map_t
    real(dp) :: z(N_THETA) = 0    !< where set() wants H
    real(dp), private :: weight(N_THETA) = 0, hubble2(N_THETA) = 0, dark_energy(N_THETA) = 0
    real(dp), private :: H0 = 0, theta_times_distance = 0
  contains
    procedure :: nodes => theta_nodes
    procedure :: set => theta_set
    procedure :: at => theta_at
    procedure, private :: distance => theta_distance
  end type

  public :: differs, within, joined

  type, public :: zelos_theory_t
    !> Of the point that was evaluated last:
    real(dp), allocatable :: cl(:, :)             !< (l, spectrum) from l = 2: D_l in muK^2; PP: [l(l+1)]^2 C_l / 2 pi
    real(dp) :: sigma8 = 0, rms_deflect = 0       !< rms_deflect in arcmin
    real(dp) :: thermo(N_THERMO) = 0
    real(dp) :: yhe = 0
    real(dp), allocatable :: growth(:), sigma8_z(:) !< at z_growth; growth is f sigma8
    real(dp), allocatable :: hubble(:), distance(:) !< at z_derived: km/s/Mpc, comoving Mpc
    real(dp), allocatable :: k(:)                 !< 1/Mpc
    real(dp), allocatable :: power(:, :), power_nl(:, :) !< (k, z), Mpc^3
    integer :: emulated = 0, real_code = 0, late = 0 !< points, of those by the real code: slow step emulated
    !> private:
    type(zelos_emulator_t) :: emulator
    type(zelos_query_t), private :: query, quick, spectra
    type(zelos_workspace_t), private :: workspace, quick_workspace, spectra_workspace
    type(zelos_error_model_t), private :: error_model !< of the spectra that are asked for
    type(zelos_needs_t), private :: needs
    character(len=8), allocatable, private :: names(:)
    logical, allocatable, private :: known(:)
    integer, allocatable, private :: position(:)
    real(dp), allocatable, private :: neutral(:), values(:), bound(:), out(:), quick_out(:)
    real(dp), private :: tolerance = 0
    logical, private :: evaluated = .false.
    integer, private :: label_thermo(N_THERMO) = 0, label_sigma8 = 0, label_yhe = 0, label_zre = 0
    real(dp), private :: middle(N_BASE) = 0
    type(reason_t), private :: reasons(MAX_REASONS)
    integer(c_int64_t), private :: first(20) = 0
    integer, private :: block_cl(5) = 0, block_derived = 0, block_growth = 0, block_background = 0, block_power = 0
  contains
    procedure :: open => theory_open
    procedure :: bind => theory_bind
    procedure :: evaluate => theory_evaluate
    procedure :: calibrated => theory_calibrated
    procedure :: zre => theory_zre
    procedure :: count => theory_count
    procedure :: report => theory_report
    procedure :: code_difference => theory_code_difference
    procedure :: setting_differences => theory_setting_differences
    procedure :: pivot_difference => theory_pivot_difference
    procedure, private :: quick_label
    procedure, private :: bind_error_model
  end type

contains

  !> Opens an artifact. names(i) with i > N_BASE are further parameters that points will have, in that order, by the names of
  !> zelos ("mnu", "w", ...); neutral(i) is the value at which the physics of one that the emulator does not know is absent.
  !> tolerance: points are not emulated where the 95 % quantile of the predicted error, the delta chi^2 of all spectra that are
  !> bound in an ideal experiment, is above it; 0: the artifact's own alone.
  subroutine theory_open(this, path, names, neutral, tolerance, error)
    class(zelos_theory_t), intent(inout) :: this
    character(len=*), intent(in) :: path, names(:)
    real(dp), intent(in) :: neutral(:), tolerance
    type(zelos_error_t), intent(out) :: error
    type(zelos_parameter_t), allocatable :: parameters(:)
    type(zelos_axis_t) :: labels
    type(zelos_requests_t) :: requests
    integer :: i, j, n

    call this%emulator%open(path, error)
    if (error%status /= ZELOS_OK) return
    call this%emulator%parameters(parameters, error)
    if (error%status /= ZELOS_OK) return
    n = N_BASE + size(names)
    this%tolerance = tolerance
    allocate (this%names(n), this%known(n), this%neutral(size(names)), this%values(n))
    this%names(:N_BASE) = BASE
    this%names(N_BASE + 1:) = names
    this%neutral = neutral
    this%known(:N_BASE) = .true.
    do i = N_BASE + 1, n
      this%known(i) = this%emulator%info('fixed/'//trim(this%names(i))) /= ''
      do j = 1, size(parameters)
        if (parameters(j)%name == this%names(i)) this%known(i) = .true.
      end do
    end do
    do i = 1, N_BASE
      do j = 1, size(parameters)
        if (parameters(j)%name == BASE(i)) this%middle(i) = (parameters(j)%min + parameters(j)%max)/2
      end do
    end do
    this%position = pack([(i, i=1, n)], this%known)
    allocate (this%bound(size(this%position)))
    call this%emulator%axis('derived', 1, labels, error)
    if (error%status /= ZELOS_OK) return
    do i = 1, N_THERMO
      this%label_thermo(i) = label_of(labels, trim(THERMO(i)))
      if (this%label_thermo(i) == 0) call missing(trim(THERMO(i)))
    end do
    this%label_sigma8 = label_of(labels, 'sigma8')
    if (this%label_sigma8 == 0) call missing('sigma8')
    this%label_yhe = label_of(labels, 'YHe')
    this%label_zre = label_of(labels, 'zrei')
    if (error%status /= ZELOS_OK) return
    call requests%add('derived')
    call this%emulator%query(this%names(this%position), requests, this%quick, error)
    if (error%status /= ZELOS_OK) return
    call this%quick%workspace(this%quick_workspace, error)
    allocate (this%quick_out(this%quick%size()))
  contains
    subroutine missing(label)
      character(len=*), intent(in) :: label
      error%status = ZELOS_E_ARGUMENT
      error%message = path//": the emulator has no derived parameter '"//label//"', which CosmoMC keeps of every point"
    end subroutine
  end subroutine

  !> Binds what a run wants. An error says what the emulator does not have of it.
  subroutine theory_bind(this, needs, error)
    class(zelos_theory_t), intent(inout) :: this
    type(zelos_needs_t), intent(in) :: needs
    type(zelos_error_t), intent(out) :: error
    type(zelos_requests_t) :: requests
    type(zelos_axis_t) :: k
    real(dp), allocatable :: ell(:)
    integer(c_int64_t) :: last
    integer :: i, l, lmax

    this%needs = needs
    this%evaluated = .false.
    this%block_cl = 0
    lmax = 0
    do i = 1, 5
      l = needs%lmax(i)
      if (i == SPEC_PP .and. needs%rms_deflect) l = max(l, RMS_LMAX)
      if (l == 0) cycle
      this%needs%lmax(i) = l
      lmax = max(lmax, l)
      ell = real([(l, l=2, this%needs%lmax(i))], dp)
      call requests%add('Cl.'//SPECTRA(i), ell)
      this%block_cl(i) = requests%size()
    end do
    call requests%add('derived')
    this%block_derived = requests%size()
    if (allocated(needs%z_growth)) then
      call requests%add('fsigma8', needs%z_growth)
      this%block_growth = requests%size()
      call requests%add('sigma8_z', needs%z_growth)
    end if
    if (allocated(needs%z_derived)) then
      do i = 1, size(needs%z_derived)
        call requests%add('Hubble', needs%z_derived(i:i))
        if (i == 1) this%block_background = requests%size()
        call requests%add('comoving_radial_distance', needs%z_derived(i:i))
      end do
    end if
    if (allocated(needs%z_power)) then
      call this%emulator%axis('Pk.linear', 1, k, error)
      if (error%status /= ZELOS_OK) return
      if (k%values(size(k%values)) < needs%k_max) then
        error%status = ZELOS_E_ARGUMENT
        error%message = 'P(k, z) is wanted beyond the k of the emulator'
        return
      end if
      this%k = k%values
      call requests%add('Pk.linear', this%k, needs%z_power)
      this%block_power = requests%size()
      if (needs%nonlinear_power) call requests%add('Pk.nonlinear', this%k, needs%z_power)
    end if
    call this%emulator%query(this%names(this%position), requests, this%query, error)
    if (error%status /= ZELOS_OK) return
    call this%query%workspace(this%workspace, error)
    if (error%status /= ZELOS_OK) return
    do i = 1, requests%size()
      call this%query%block(i, this%first(i), last, error)
      if (error%status /= ZELOS_OK) return
    end do
    if (allocated(this%out)) deallocate (this%out)
    allocate (this%out(this%query%size()))
    if (allocated(this%cl)) deallocate (this%cl)
    allocate (this%cl(2:max(2, lmax), 5), source=0.0_dp)
    if (this%tolerance > 0) call this%bind_error_model(needs, error)
  end subroutine

  !> Of the spectra that the data ask for. An error if there is none, or if a family predicts no error.
  subroutine bind_error_model(this, needs, error)
    class(zelos_theory_t), intent(inout) :: this
    type(zelos_needs_t), intent(in) :: needs
    type(zelos_error_t), intent(out) :: error
    type(zelos_requests_t) :: requests
    real(dp) :: middle(size(this%names)), mean, quantile
    integer :: i

    do i = 1, 5
      if (needs%lmax(i) > 0) call requests%add('Cl.'//SPECTRA(i))
    end do
    if (requests%size() == 0) then
      error%status = ZELOS_E_ARGUMENT
      error%message = 'zelos_tolerance is of the delta chi^2 of spectra, and this run asks the emulator for none'
      return
    end if
    call this%emulator%query(this%names(this%position), requests, this%spectra, error)
    if (error%status /= ZELOS_OK) return
    call this%spectra%workspace(this%spectra_workspace, error)
    if (error%status /= ZELOS_OK) return
    call this%spectra%error_model(this%error_model, error)
    if (error%status /= ZELOS_OK) return
    middle(:N_BASE) = this%middle
    middle(N_BASE + 1:) = this%neutral
    call this%error_model%evaluate(middle(this%position), mean, quantile, this%spectra_workspace, error)
    if (error%status /= ZELOS_OK .or. number(quantile)) return
    error%status = ZELOS_E_ARGUMENT
    error%message = 'zelos_tolerance: the emulator predicts no error of its spectra'
  end subroutine

  !> Whether the quantile of a tolerance is calibrated with errors at points left out of the training.
  logical function theory_calibrated(this)
    class(zelos_theory_t), intent(in) :: this
    real(dp) :: factor
    integer(c_int64_t) :: n_left_out

    call this%error_model%calibration(factor, n_left_out)
    theory_calibrated = n_left_out > 0
  end function

  !> values: those of N_BASE (H0 in km/s/Mpc, logA = ln(1e10 A_s)) and of the further names. True if the point is emulated:
  !> everything that was bound is then filled. Else `why` names, in few words, what left the emulator's physics or region.
  !> The same point again costs nothing.
  logical function theory_evaluate(this, values, why) result(answered)
    class(zelos_theory_t), intent(inout) :: this
    real(dp), intent(in) :: values(:)
    character(len=:), allocatable, intent(out) :: why
    type(zelos_error_t) :: error
    type(zelos_verdict_t) :: verdict
    real(dp) :: mean, quantile
    integer :: i

    why = ''
    if (this%evaluated) then
      answered = .not. any(differs(values, this%values))
      if (answered) return
    end if
    this%evaluated = .false.
    answered = .false.
    do i = 1, size(this%names)
      if (.not. number(values(i))) then
        why = trim(this%names(i))//' is not finite'
        return
      end if
      if (this%known(i)) cycle
      if (differs(values(i), this%neutral(i - N_BASE))) then
        why = trim(this%names(i))//' is not emulated'
        return
      end if
    end do
    this%bound = values(this%position)
    call this%query%evaluate(this%bound, this%out, this%workspace, error, verdict)
    if (error%status == ZELOS_E_OUTSIDE) then
      why = reason(verdict)
    else if (error%status /= ZELOS_OK) then
      why = error%message
    else if (this%tolerance > 0) then
      call this%error_model%evaluate(this%bound, mean, quantile, this%spectra_workspace, error)
      if (error%status /= ZELOS_OK) then
        why = error%message
      else if (.not. number(quantile) .or. quantile > this%tolerance) then
        why = 'predicted error above the tolerance'
      end if
    end if
    if (len(why) > 0) return
    answered = .true.
    this%evaluated = .true.
    this%values = values
    call unpack_answer(this)
  end function

  subroutine unpack_answer(this)
    class(zelos_theory_t), intent(inout) :: this
    integer :: i, j, l, n
    integer(c_int64_t) :: at

    do i = 1, 5
      if (this%block_cl(i) == 0) cycle
      at = this%first(this%block_cl(i)) - 2
      do l = 2, this%needs%lmax(i)
        this%cl(l, i) = this%out(at + l)*real(l, dp)*(l + 1)/(2*PI)
        if (i == SPEC_PP) this%cl(l, i) = this%cl(l, i)*real(l, dp)*(l + 1)
      end do
    end do
    at = this%first(this%block_derived) - 1
    this%sigma8 = this%out(at + this%label_sigma8)
    this%thermo = this%out(at + this%label_thermo)*THERMO_FACTOR
    if (this%label_yhe > 0) this%yhe = this%out(at + this%label_yhe)
    if (this%needs%rms_deflect) then
      this%rms_deflect = 0
      do l = 2, RMS_LMAX
        this%rms_deflect = this%rms_deflect + this%cl(l, SPEC_PP)*(l + 0.5_dp)/(real(l, dp)*(l + 1))
      end do
      this%rms_deflect = sqrt(this%rms_deflect)*180*60/PI
    end if
    if (allocated(this%needs%z_growth)) then
      n = size(this%needs%z_growth)
      this%growth = this%out(this%first(this%block_growth):this%first(this%block_growth) + n - 1)
      this%sigma8_z = this%out(this%first(this%block_growth + 1):this%first(this%block_growth + 1) + n - 1)
    end if
    if (allocated(this%needs%z_derived)) then
      n = size(this%needs%z_derived)
      this%hubble = [(this%out(this%first(this%block_background + 2*i)), i=0, n - 1)]
      this%distance = [(this%out(this%first(this%block_background + 2*i + 1)), i=0, n - 1)]
    end if
    if (allocated(this%needs%z_power)) then
      n = size(this%needs%z_power)
      call power_block(this%first(this%block_power), this%power)
      if (this%needs%nonlinear_power) call power_block(this%first(this%block_power + 1), this%power_nl)
    end if
  contains
    subroutine power_block(begin, values)
      integer(c_int64_t), intent(in) :: begin
      real(dp), allocatable, intent(inout) :: values(:, :)
      if (.not. allocated(values)) allocate (values(size(this%k), n))
      do j = 1, size(this%k)
        values(j, :) = this%out(begin + (j - 1)*n:begin + j*n - 1)
      end do
    end subroutine
  end subroutine

  !> z(:) from 0 to z_*, which Hu and Sugiyama (1996) fit; densities are those times h^2, omdmh2 of all dark matter.
  subroutine theta_nodes(this, ombh2, omdmh2)
    class(theta_map_t), intent(inout) :: this
    real(dp), intent(in) :: ombh2, omdmh2
    real(dp) :: x(N_THETA), zstar

    zstar = 1048*(1 + 0.00124_dp*ombh2**(-0.738_dp))*(1 + 0.0783_dp*ombh2**(-0.238_dp)/(1 + 39.5_dp*ombh2**0.763_dp)* &
      (omdmh2 + ombh2)**(0.560_dp/(1 + 21.1_dp*ombh2**1.81_dp)))
    call legendre(x, this%weight)
    x = log(1 + zstar)*(1 + x)/2
    this%z = exp(x) - 1
    this%weight = this%weight*exp(x)
  end subroutine

  !> theta at H0 [km/s/Mpc] and, at the nodes, H [1/Mpc]; w + wa(1-a) is the dark energy's equation of state.
  subroutine theta_set(this, H0, theta, hubble, w, wa)
    class(theta_map_t), intent(inout) :: this
    real(dp), intent(in) :: H0, theta, hubble(N_THETA), w, wa

    this%H0 = H0
    this%hubble2 = hubble**2
    this%dark_energy = (1 + this%z)**(3*(1 + w + wa))*exp(-3*wa*this%z/(1 + this%z))/SPEED_OF_LIGHT**2
    this%theta_times_distance = theta*this%distance(H0)
  end subroutine

  pure real(dp) function theta_at(this, H0)
    class(theta_map_t), intent(in) :: this
    real(dp), intent(in) :: H0
    theta_at = this%theta_times_distance/this%distance(H0)
  end function

  !> Only the density of dark energy differs between two H0.
  pure real(dp) function theta_distance(this, H0)
    class(theta_map_t), intent(in) :: this
    real(dp), intent(in) :: H0
    theta_distance = sum(this%weight/sqrt(this%hubble2 + (H0**2 - this%H0**2)*this%dark_energy))
  end function

  !> Nodes and weights of Gauss and Legendre on [-1, 1], by Newton's method.
  pure subroutine legendre(x, weight)
    real(dp), intent(out) :: x(:), weight(:)
    real(dp) :: p(size(x)), before(size(x)), slope(size(x)), next(size(x))
    integer :: i, j, n

    n = size(x)
    x = [(cos(PI*(i - 0.25_dp)/(n + 0.5_dp)), i=1, n)]
    do i = 1, 8
      p = x
      before = 1
      do j = 2, n
        next = ((2*j - 1)*x*p - (j - 1)*before)/j
        before = p
        p = next
      end do
      slope = n*(x*p - before)/(x**2 - 1)
      x = x - p/slope
    end do
    weight = 2/((1 - x**2)*slope**2)
  end subroutine

  !> Redshift of reionisation for values(4) = tau; logA and ns do not matter.
  logical function theory_zre(this, values, zre) result(known)
    class(zelos_theory_t), intent(inout) :: this
    real(dp), intent(in) :: values(:)
    real(dp), intent(out) :: zre
    real(dp) :: inside(size(values))

    inside = values
    inside(5:N_BASE) = this%middle(5:N_BASE)
    known = this%quick_label(inside, this%label_zre, zre)
  end function

  logical function quick_label(this, values, label, value) result(known)
    class(zelos_theory_t), intent(inout) :: this
    real(dp), intent(in) :: values(:)
    integer, intent(in) :: label
    real(dp), intent(out) :: value
    type(zelos_error_t) :: error
    integer :: i

    value = 0
    known = .false.
    if (label == 0) return
    do i = N_BASE + 1, size(this%names)
      if (this%known(i)) cycle
      if (differs(values(i), this%neutral(i - N_BASE))) return
    end do
    this%bound = values(this%position)
    call this%quick%evaluate(this%bound, this%quick_out, this%quick_workspace, error)
    known = error%status == ZELOS_OK
    if (known) value = this%quick_out(label)
  end function

  !> Counts a point: emulated where `why` is empty.
  subroutine theory_count(this, why)
    class(zelos_theory_t), intent(inout) :: this
    character(len=*), intent(in) :: why
    integer :: i

    if (why == '') then
      this%emulated = this%emulated + 1
      return
    end if
    this%real_code = this%real_code + 1
    do i = 1, MAX_REASONS
      if (i == MAX_REASONS) this%reasons(i)%text = 'other reasons'
      if (this%reasons(i)%count == 0) this%reasons(i)%text = why
      if (this%reasons(i)%text == why .or. i == MAX_REASONS) then
        this%reasons(i)%count = this%reasons(i)%count + 1
        return
      end if
    end do
  end subroutine

  !> One line, and one for each reason. outside: what became of points that were not emulated, "by CAMB".
  subroutine theory_report(this, unit, prefix, outside)
    class(zelos_theory_t), intent(in) :: this
    integer, intent(in) :: unit
    character(len=*), intent(in) :: prefix, outside
    character(len=5) :: share
    integer :: i, total

    total = this%emulated + this%real_code
    write (share, '(f5.1)') 100.0_dp*this%real_code/max(1, total)
    write (unit, '(a,i0,a,i0,a,i0,a)') prefix, total, ' points: ', this%emulated, ' emulated, ', this%real_code, &
      ' '//outside//' ('//trim(adjustl(share))//' %)'
    do i = 1, MAX_REASONS
      if (this%reasons(i)%count == 0) exit
      write (unit, '(a,a,a,a,i0)') prefix, '  ', trim(this%reasons(i)%text), ': ', this%reasons(i)%count
    end do
    if (this%late > 0) write (unit, '(a,i0,a)') prefix//'  ', this%late, ' of them after an emulated slow step'
  end subroutine

  !> How CAMB of this version differs from the training's code, in one line; empty if it does not.
  function theory_code_difference(this, code_version) result(text)
    class(zelos_theory_t), intent(in) :: this
    character(len=*), intent(in) :: code_version
    character(len=:), allocatable :: text, trained

    text = ''
    trained = this%emulator%info('provenance/code')
    if (trained /= 'camb') text = joined(text, 'CAMB here, '//trained//' in training')
    trained = this%emulator%info('provenance/code_version')
    if (trained /= code_version) text = joined(text, 'CAMB '//code_version//' here, '//trained//' in training')
  end function

  !> How settings that are physics of every point differ from the training's. halofit: CAMB's number of the version of
  !> halofit; n_massive: of equal neutrinos with mass, 0 for a hierarchy.
  function theory_setting_differences(this, halofit, n_massive) result(text)
    class(zelos_theory_t), intent(in) :: this
    integer, intent(in) :: halofit, n_massive
    character(len=:), allocatable :: text
    character(len=20), parameter :: versions(10) = [character(len=20) :: 'original', 'bird', 'peacock', 'takahashi', 'mead2016', &
      'halomodel', 'casarini', 'mead2015', 'mead2020', 'mead2020_feedback']
    character(len=:), allocatable :: trained
    character(len=20) :: here

    text = ''
    trained = this%emulator%info('provenance/config/halofit_version')
    if (trained == '') trained = 'mead2020'
    if (trained == 'mead') trained = 'mead2016'
    write (here, '(i0)') halofit
    if (halofit >= 1 .and. halofit <= size(versions)) here = versions(halofit)
    if (trained /= here) text = joined(text, 'halofit_version '//trim(here)//' here, '//trained//' in training')
    trained = this%emulator%info('provenance/config/num_massive_neutrinos')
    if (trained == '') trained = '1'
    if (this%emulator%info('provenance/config/neutrino_hierarchy') == 'normal' .or. &
        this%emulator%info('provenance/config/neutrino_hierarchy') == 'inverted') trained = '0'
    write (here, '(i0)') n_massive
    if (trained /= here) text = joined(text, 'massive neutrinos (0: a hierarchy) '//trim(here)//' here, '//trained//' in training')
  end function

  !> The same of the pivot of the primordial power, 1/Mpc: with another, logA is another quantity.
  function theory_pivot_difference(this, pivot) result(text)
    class(zelos_theory_t), intent(in) :: this
    real(dp), intent(in) :: pivot
    character(len=:), allocatable :: text, trained
    character(len=20) :: here
    real(dp) :: pivot_trained

    text = ''
    trained = this%emulator%info('provenance/config/pivot_scalar')
    if (trained == '') trained = '0.05'
    read (trained, *) pivot_trained
    write (here, '(f8.5)') pivot
    if (abs(pivot - pivot_trained) > 1e-9_dp) text = 'pivot '//trim(adjustl(here))//' here, '//trained//' in training'
  end function

  pure function joined(a, b) result(text)
    character(len=*), intent(in) :: a, b
    character(len=:), allocatable :: text
    if (a == '' .or. b == '') then
      text = a//b
    else
      text = a//'; '//b
    end if
  end function

  !> A verdict in few words that are the same for all points with the same cause.
  function reason(verdict) result(text)
    type(zelos_verdict_t), intent(in) :: verdict
    character(len=:), allocatable :: text
    select case (verdict%reason)
    case (ZELOS_BOX)
      text = verdict%parameter//' outside its range'
    case (ZELOS_FIXED_PARAMETER)
      text = verdict%parameter//' not as in training'
    case (ZELOS_HULL)
      text = 'outside the hull'
    case (ZELOS_ERROR_BOUND)
      text = 'predicted error'
    case (ZELOS_NOT_FINITE)
      text = verdict%parameter//' is not finite'
    case default
      text = 'no solution'
    end select
  end function

  !> True also where x is not finite, which under -ffast-math no comparison says.
  elemental logical function differs(x, y)
    real(dp), intent(in) :: x, y
    differs = .not. number(x) .or. abs(x - y) > 0
  end function

  !> Whether x is finite and this close to y, also under -ffast-math.
  elemental logical function within(x, y, tolerance)
    real(dp), intent(in) :: x, y, tolerance
    within = number(x) .and. abs(x - y) < tolerance
  end function

  !> False for NaN and infinities, also under -ffast-math.
  elemental logical function number(x)
    real(dp), intent(in) :: x
    integer(c_int64_t), parameter :: exponent = int(z'7FF0000000000000', c_int64_t)
    number = iand(transfer(x, 0_c_int64_t), exponent) /= exponent
  end function

  integer function label_of(axis, label)
    type(zelos_axis_t), intent(in) :: axis
    character(len=*), intent(in) :: label
    integer :: i
    label_of = 0
    do i = 1, size(axis%labels)
      if (axis%labels(i) == label) label_of = i
    end do
  end function

end module
