! SPDX-License-Identifier: BSD-3-Clause
!> The Fortran module from outside: a missing file is named, and the artifact named by the argument answers.
program consumer
  use, intrinsic :: iso_c_binding, only: c_double
  use zelos
  implicit none
  character(len=4096) :: path

  call get_command_argument(1, path)
  call run(trim(path))

contains

  subroutine run(file)
    character(len=*), intent(in) :: file
    type(zelos_emulator_t) :: emulator
    type(zelos_requests_t) :: requests
    type(zelos_query_t) :: query
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    real(c_double) :: hubble(1)
    real(c_double), parameter :: point(6) = [0.0224_c_double, 0.12_c_double, 68.0_c_double, 0.054_c_double, 3.04_c_double, &
                                             0.965_c_double]

    call emulator%open('/no/such/file.h5', error)
    if (error%status /= ZELOS_E_IO .or. index(error%message, '/no/such/file.h5') == 0) error stop 'a missing file'
    call emulator%open(file, error)
    if (error%status /= ZELOS_OK) error stop 'open'
    call requests%add('Hubble', [0.0_c_double])
    call emulator%query(['ombh2', 'omch2', 'H0   ', 'tau  ', 'logA ', 'ns   '], requests, query, error)
    if (error%status /= ZELOS_OK) error stop 'query'
    call query%workspace(workspace, error)
    if (error%status /= ZELOS_OK) error stop 'workspace'
    call query%evaluate(point, hubble, workspace, error)
    if (error%status /= ZELOS_OK) error stop 'evaluate'
    if (abs(hubble(1) - 68) > 0.1_c_double) error stop 'H(0)'
  end subroutine
end program
