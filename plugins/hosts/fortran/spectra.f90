! SPDX-License-Identifier: BSD-3-Clause
!> spectra.f90: CMB spectra and derived parameters from an artifact such as CAMB_lcdm.h5, in Fortran.
!>
!>   gfortran -std=f2008 $(pkg-config --variable=fortran zelos) spectra.f90 $(pkg-config --libs zelos) -o spectra
!>   ./spectra CAMB_lcdm.h5
!>
!> A program opens the artifact once, binds one question, makes one workspace for each thread, and then evaluates, which
!> allocates nothing for a point inside. spectra.c (plugins/hosts/c) is the same program in C and prints the same.
program spectra
  use, intrinsic :: iso_c_binding, only: c_double, c_int64_t
  use, intrinsic :: iso_fortran_env, only: error_unit
  use zelos
  implicit none
  character(len=4096) :: path

  if (command_argument_count() /= 1) then
    write (error_unit, '(a)') 'usage: spectra ARTIFACT.h5'
    stop 2
  end if
  call get_command_argument(1, path)
  call run(trim(path))

contains

  !> What is held is released at the end of this procedure.
  subroutine run(file)
    character(len=*), intent(in) :: file
    integer, parameter :: last_ell = 2500, l = 220
    real(c_double), parameter :: pi = acos(-1.0_c_double)
    type(zelos_emulator_t) :: emulator
    type(zelos_requests_t) :: requests
    type(zelos_query_t) :: query
    type(zelos_workspace_t) :: workspace
    type(zelos_axis_t) :: labels
    type(zelos_verdict_t) :: verdict
    type(zelos_error_t) :: error
    real(c_double) :: points(6, 2), ell(2:last_ell)
    real(c_double), allocatable :: out(:)
    integer(c_int64_t) :: cl, derived, last
    integer :: i, sigma8, rdrag

    points(:, 1) = [0.0224_c_double, 0.120_c_double, 67.4_c_double, 0.054_c_double, 3.045_c_double, 0.965_c_double]
    points(:, 2) = points(:, 1)
    points(4, 2) = 0.250_c_double

    call emulator%open(file, error)
    call check(error)
    call emulator%axis('derived', 1, labels, error)
    call check(error)
    sigma8 = index_of(labels, 'sigma8')
    rdrag = index_of(labels, 'rdrag')
    if (sigma8 == 0 .or. rdrag == 0) then
      write (error_unit, '(a)') file//' has no sigma8 or no rdrag'
      stop 1
    end if
    ell = [(real(i, c_double), i=2, last_ell)]
    call requests%add('Cl.tt', ell)
    call requests%add('derived')
    call emulator%query(['ombh2', 'omch2', 'H0   ', 'tau  ', 'logA ', 'ns   '], requests, query, error)
    call check(error)
    call query%block(1, cl, last, error)
    call check(error)
    call query%block(2, derived, last, error)
    call check(error)
    call query%workspace(workspace, error)
    call check(error)
    allocate (out(query%size()))

    do i = 1, size(points, 2)
      call query%evaluate(points(:, i), out, workspace, error, verdict)
      if (error%status == ZELOS_E_OUTSIDE) then
        print '(a)', 'outside: '//verdict%message ! here the program runs its real code
        cycle
      end if
      call check(error)
      print '(a,f0.4,a,f8.6,a,f0.4,a)', 'D_220 ', l*(l + 1)/(2*pi)*out(cl + l - 2), ' muK^2, sigma8 ', &
        out(derived + sigma8 - 1), ', rdrag ', out(derived + rdrag - 1), ' Mpc'
    end do
  end subroutine

  integer function index_of(axis, label)
    type(zelos_axis_t), intent(in) :: axis
    character(len=*), intent(in) :: label
    integer :: i
    index_of = 0
    do i = 1, size(axis%labels)
      if (axis%labels(i) == label) index_of = i
    end do
  end function

  subroutine check(error)
    type(zelos_error_t), intent(in) :: error
    if (error%status == ZELOS_OK) return
    write (error_unit, '(a)') error%message
    stop 1
  end subroutine
end program
