! SPDX-License-Identifier: BSD-3-Clause
!> compare ARTIFACT FOLDER PLUGIN: the points of answers.cpp through the module zelos, one by one and as a batch; then what the
!> module promises about derivatives, errors and ownership. Prints the greatest relative difference.
program compare
  use, intrinsic :: iso_c_binding, only: c_double, c_int64_t
  use, intrinsic :: iso_fortran_env, only: error_unit
  use zelos
  implicit none
  integer, parameter :: dp = c_double, n_points = 20, n_parameters = 6
  character(len=5), parameter :: names(n_parameters) = ['ombh2', 'omch2', 'H0   ', 'tau  ', 'logA ', 'ns   ']
  character(len=4096) :: artifact, folder, plugin
  real(dp) :: points(n_parameters, n_points)
  logical :: bad = .false.

  call get_command_argument(1, artifact)
  call get_command_argument(2, folder)
  call get_command_argument(3, plugin) ! a fallback whose every number is 1
  call read_points()
  call answers()
  call derivatives()
  call description()
  call failures()
  call fallbacks()
  call error_models()
  call ownership()
  if (bad) stop 1

contains

  function one(output, axis, axis2) result(requests)
    character(len=*), intent(in) :: output
    real(dp), intent(in), optional :: axis(:), axis2(:)
    type(zelos_requests_t) :: requests
    call requests%add(output, axis, axis2)
  end function

  subroutine expect(condition, what)
    logical, intent(in) :: condition
    character(len=*), intent(in) :: what
    if (condition) return
    bad = .true.
    write (error_unit, '(a)') 'not so: '//what
  end subroutine

  subroutine fine(error)
    type(zelos_error_t), intent(in) :: error
    if (error%status == ZELOS_OK) return
    write (error_unit, '(a)') error%message
    stop 1
  end subroutine

  subroutine fails(error, status, text)
    type(zelos_error_t), intent(in) :: error
    integer, intent(in) :: status
    character(len=*), intent(in) :: text
    call expect(error%status == status, 'a status for: '//text)
    if (error%status == ZELOS_OK) return
    call expect(index(error%message, text) > 0, 'message with "'//text//'": '//error%message)
  end subroutine

  subroutine read_points()
    integer :: unit
    open (newunit=unit, file=trim(folder)//'/points.bin', access='stream', form='unformatted', status='old')
    read (unit) points
    close (unit)
  end subroutine

  subroutine answers()
    type(zelos_emulator_t) :: emulator
    type(zelos_query_t) :: query
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    type(zelos_verdict_t) :: verdict
    type(zelos_requests_t) :: requests
    character(len=2), parameter :: spectra(5) = ['tt', 'te', 'ee', 'bb', 'pp']
    real(dp), allocatable :: out(:), batch(:, :), expected(:, :)
    real(dp) :: ell(2499), k(64), worst
    real(dp), parameter :: z(4) = [0.0_dp, 0.5_dp, 1.0_dp, 2.0_dp], z_background(5) = [0.0_dp, 0.125_dp, 0.5_dp, 1.0_dp, 2.5_dp]
    logical :: inside(n_points)
    integer :: i, unit

    ell = [(real(i, dp), i=2, 2500)]
    k = [(i/64.0_dp, i=1, 64)]
    call emulator%open(trim(artifact), error)
    call fine(error)
    do i = 1, 5
      call requests%add('Cl.'//spectra(i), ell)
    end do
    call requests%add('Pk.linear', k, z)
    call requests%add('Pk.nonlinear', k, z)
    call requests%add('Hubble', z_background)
    call requests%add('comoving_radial_distance', z_background)
    call requests%add('angular_diameter_distance', z_background)
    call requests%add('sigma8_z', z)
    call requests%add('fsigma8', z)
    call requests%add('derived')
    call emulator%query(names, requests, query, error)
    call fine(error)
    call emulator%release() ! the query keeps what it needs
    call query%workspace(workspace, error)
    call fine(error)
    allocate (out(query%size()), batch(query%size(), n_points), expected(query%size(), n_points))
    open (newunit=unit, file=trim(folder)//'/answers.bin', access='stream', form='unformatted', status='old')
    read (unit) expected
    close (unit)
    worst = 0
    do i = 1, n_points
      call query%evaluate(points(:, i), out, workspace, error, verdict)
      call fine(error)
      call expect(verdict%reason == ZELOS_INSIDE, 'a point of answers.cpp is inside')
      worst = max(worst, maxval(abs(out - expected(:, i))/merge(1.0_dp, abs(expected(:, i)), abs(expected(:, i)) <= 0)))
    end do
    print '(es10.3)', worst

    points(3, 7) = 500
    batch = -1
    call query%evaluate_batch(points, batch, inside, workspace, error)
    call fine(error)
    call expect(count(inside) == n_points - 1 .and. .not. inside(7), 'one point of the batch is outside')
    call expect(all(batch(:, 7) < 0) .and. all(batch(:, 7) > -2), 'its answer is untouched')
    call expect(maxval(abs(batch(:, 1:6) - expected(:, 1:6))) < 1e-9_dp*maxval(abs(expected(:, 1:6))), 'the batch agrees')
    call read_points()
  end subroutine

  subroutine derivatives()
    type(zelos_emulator_t) :: emulator
    type(zelos_query_t) :: query
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    type(zelos_requests_t) :: requests
    real(dp), allocatable :: out(:), up(:), down(:), jacobian(:, :), product(:), cotangent(:), errors(:)
    real(dp) :: moved(n_parameters), step, gradient(n_parameters), direction(n_parameters)
    integer :: j

    call emulator%open(trim(artifact), error)
    call fine(error)
    call requests%add('Cl.tt', [2.0_dp, 30.0_dp, 800.0_dp])
    call requests%add('sigma8_z', [0.5_dp])
    call emulator%query(names, requests, query, error)
    call fine(error)
    call query%workspace(workspace, error)
    call fine(error)
    allocate (out(query%size()), up(query%size()), down(query%size()), jacobian(n_parameters, query%size()), &
              product(query%size()), cotangent(query%size()), errors(2))
    call query%jacobian(points(:, 1), out, jacobian, workspace, error)
    call fine(error)
    do j = 1, n_parameters
      step = 1e-4_dp*points(j, 1)
      moved = points(:, 1)
      moved(j) = points(j, 1) + step
      call query%evaluate(moved, up, workspace, error)
      call fine(error)
      moved(j) = points(j, 1) - step
      call query%evaluate(moved, down, workspace, error)
      call fine(error)
      call expect(all(abs((up - down)/(2*step) - jacobian(j, :)) <= 1e-4_dp*abs(jacobian(j, :)) + 1e-6_dp*abs(out/points(j, 1))), &
                  'jacobian(:, output) of '//names(j)//' is the slope')
    end do
    direction = [1.0_dp, -2.0_dp, 30.0_dp, 0.5_dp, 0.1_dp, -1.0_dp]
    cotangent = [0.3_dp, -1.0_dp, 2.0_dp, 5.0_dp]
    call query%jvp(points(:, 1), direction, out, product, workspace, error)
    call fine(error)
    call expect(all(abs(product - matmul(direction, jacobian)) <= 1e-10_dp*matmul(abs(direction), abs(jacobian))), 'jvp')
    call query%vjp(points(:, 1), cotangent, out, gradient, workspace, error)
    call fine(error)
    call expect(all(abs(gradient - matmul(jacobian, cotangent)) <= 1e-10_dp*matmul(abs(jacobian), abs(cotangent))), 'vjp')
    call query%predicted_error(points(:, 1), errors, workspace, error)
    call fine(error)
  end subroutine

  subroutine description()
    type(zelos_emulator_t) :: emulator
    type(zelos_error_t) :: error
    type(zelos_parameter_t), allocatable :: parameters(:)
    character(len=:), allocatable :: outputs(:)
    type(zelos_axis_t) :: axis
    integer :: i

    call expect(len(emulator%name()) == 0 .and. .not. emulator%is_open(), 'an emulator that is not open has no name')
    call emulator%open(trim(artifact), error)
    call fine(error)
    call expect(len(emulator%id()) == 64 .and. len(emulator%version()) > 0, 'id and version')
    call expect(index(emulator%info_json(), '"'//emulator%name()//'"') > 0, 'the JSON holds the name')
    call expect(emulator%info('name') == emulator%name() .and. emulator%info('id') == emulator%id(), 'info: strings')
    call expect(emulator%info('fixed/nnu') == '3.044' .and. emulator%info('provenance/config/lmax') == '4400', 'info: numbers')
    call expect(emulator%info('provenance/code') == 'camb' .and. emulator%info('provenance/container') == 'null', 'info: deep')
    call expect(emulator%info('fixed/nn') == '' .and. emulator%info('no/such') == '' .and. emulator%info('name/x') == '', &
                'info: what is not there')
    call expect(index(emulator%info('fixed'), '{"mnu":') == 1 .and. index(emulator%info('spec'), 'CAMB_lcdm') > 0, 'info: whole')
    call emulator%parameters(parameters, error)
    call fine(error)
    do i = 1, n_parameters
      call expect(parameters(i)%name == names(i) .and. parameters(i)%min < points(i, 1) .and. &
                  points(i, 1) < parameters(i)%max, 'the point is in the box along '//names(i))
    end do
    call emulator%outputs(outputs, error)
    call fine(error)
    call expect(any(outputs == 'Cl.tt') .and. any(outputs == 'derived'), 'outputs')
    call emulator%axis('Cl.tt', 1, axis, error)
    call fine(error)
    call expect(axis%name == 'ell' .and. axis%values(1) >= 2 .and. size(axis%labels) == 0, 'axis of Cl.tt')
    call emulator%axis('derived', 1, axis, error)
    call fine(error)
    call expect(any(axis%labels == 'sigma8') .and. size(axis%labels) == size(axis%values), 'labels of derived')
    call emulator%axis('Cl.xx', 1, axis, error)
    call fails(error, ZELOS_E_ARGUMENT, 'Cl.xx')
    call emulator%axis('Cl.tt', 3, axis, error)
    call fails(error, ZELOS_E_ARGUMENT, 'axis index out of range')
    call expect(zelos_version() /= '' .and. zelos_status_text(ZELOS_E_OUTSIDE) == 'outside the region', 'texts')
  end subroutine

  subroutine failures()
    type(zelos_emulator_t) :: emulator
    type(zelos_query_t) :: query, other
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    type(zelos_verdict_t) :: verdict
    real(dp) :: out(1), values(n_parameters), jacobian(5, 1)
    integer(c_int64_t) :: first, last

    call emulator%open('/no/such/file.h5', error)
    call fails(error, ZELOS_E_IO, '/no/such/file.h5')
    call emulator%query(names, one('Cl.tt'), query, error)
    call fails(error, ZELOS_E_ARGUMENT, 'nothing is held')
    call query%evaluate(points(:, 1), out, workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'nothing is held')
    call emulator%open(trim(artifact), error)
    call fine(error)
    call emulator%query(['ombh2', 'omch2'], one('Cl.tt'), query, error)
    call fails(error, ZELOS_E_ARGUMENT, 'H0')
    call emulator%query(names, one('Cl.zz'), query, error)
    call fails(error, ZELOS_E_ARGUMENT, 'Cl.zz')
    call emulator%query(names, one(repeat('x', 300)), query, error)
    call fails(error, ZELOS_E_ARGUMENT, 'xxx')
    call emulator%query(names, one('Cl.tt', [2.0_dp, 1e6_dp]), query, error)
    call fails(error, ZELOS_E_ARGUMENT, 'Cl.tt')
    call emulator%query(names, one('Cl.tt', [220.0_dp], [0.0_dp]), query, error)
    call fails(error, ZELOS_E_ARGUMENT, "output 'Cl.tt' has 1 axes, found 2")
    call emulator%query(names, one('Cl.tt', [220.0_dp]), query, error)
    call fine(error)
    call emulator%query(names, one('Cl.ee', [220.0_dp]), other, error)
    call fine(error)
    call query%evaluate(points(:, 1), out, workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'workspace')
    call other%workspace(workspace, error)
    call fine(error)
    call query%evaluate(points(:, 1), out, workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'another query')
    call query%workspace(workspace, error)
    call fine(error)
    call query%evaluate(points(1:5, 1), out, workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'expected size 6, found 5')
    call query%jacobian(points(:, 1), out, jacobian, workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'jacobian(:, 1): expected size 6, found 5')
    call query%block(2, first, last, error)
    call fails(error, ZELOS_E_ARGUMENT, 'index out of range')
    values = points(:, 1)
    values(3) = 500
    out = -1
    call query%evaluate(values, out, workspace, error, verdict)
    call fails(error, ZELOS_E_OUTSIDE, 'H0')
    call expect(out(1) < 0 .and. verdict%reason == ZELOS_BOX .and. verdict%parameter == 'H0' .and. &
                abs(verdict%value - 500) < 1e-9_dp .and. verdict%upper < 500, 'the verdict names H0')
    call query%verdict(values, workspace, verdict, error)
    call fine(error)
    call expect(verdict%reason == ZELOS_BOX, 'the verdict alone')
    values(3) = points(3, 1)
    call query%evaluate(values, out, workspace, error, verdict)
    call fine(error)
    call expect(verdict%reason == ZELOS_INSIDE .and. out(1) > 0, 'the same workspace goes on')
  end subroutine

  !> errors.bin of the folder has, by the Python package and per point: mean and quantile of the ideal experiment of TT, TE
  !> and EE, then of data in three bins of TT.
  subroutine error_models()
    type(zelos_emulator_t) :: emulator
    type(zelos_requests_t) :: requests
    type(zelos_query_t) :: query, binned
    type(zelos_workspace_t) :: workspace, binned_workspace
    type(zelos_error_model_t) :: ideal, data, shared
    type(zelos_error_t) :: error
    real(dp) :: expected(4, n_points), ell(300), covariance(3, 3), matrix(300, 3), found(4), worst, factor
    integer(c_int64_t) :: n_left_out
    integer :: i, unit

    open (newunit=unit, file=trim(folder)//'/errors.bin', access='stream', form='unformatted', status='old')
    read (unit) expected
    close (unit)
    call read_points()
    call ideal%evaluate(points(:, 1), found(1), found(2), workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'nothing is held')
    call emulator%open(trim(artifact), error)
    call fine(error)
    call requests%add('Cl.tt')
    call requests%add('Cl.te')
    call requests%add('Cl.ee')
    call emulator%query(names, requests, query, error)
    call fine(error)
    call query%workspace(workspace, error)
    call fine(error)
    call query%error_model(ideal, error)
    call fine(error)
    ell = [(real(i, dp), i=2, 301)]
    call emulator%query(names, one('Cl.tt', ell), binned, error)
    call fine(error)
    call binned%workspace(binned_workspace, error)
    call fine(error)
    ! Not symmetric under an exchange of rows and columns: an order that is wrong is seen.
    matrix = 0
    matrix(1:50, 1) = 1.0_dp/50
    matrix(51:150, 2) = 1.0_dp/100
    matrix(151:300, 3) = 1.0_dp/150
    covariance = reshape([4.0_dp, 1.0_dp, 0.5_dp, 1.0_dp, 2.0_dp, 0.25_dp, 0.5_dp, 0.25_dp, 1.0_dp], [3, 3])*1e-4_dp
    call binned%error_model(data, error, matrix=matrix)
    call fails(error, ZELOS_E_ARGUMENT, 'covariance')
    call binned%error_model(data, error, covariance, matrix(1:299, :))
    call fails(error, ZELOS_E_ARGUMENT, 'matrix(:, 1): expected size 300, found 299')
    call binned%error_model(data, error, covariance(1:2, :), matrix)
    call fails(error, ZELOS_E_ARGUMENT, 'covariance(:, 1): expected size 3, found 2')
    call binned%error_model(data, error, -covariance, matrix)
    call expect(error%status == ZELOS_E_ARGUMENT, 'a covariance that is not positive definite is refused')
    call binned%error_model(data, error, covariance, matrix, points(:, 1))
    call fine(error)
    shared = data
    call data%release()
    worst = 0
    do i = 1, n_points
      call ideal%evaluate(points(:, i), found(1), found(2), workspace, error)
      call fine(error)
      call shared%evaluate(points(:, i), found(3), found(4), binned_workspace, error)
      call fine(error)
      worst = max(worst, maxval(abs(found/expected(:, i) - 1)))
    end do
    call expect(worst < 1e-9_dp, 'errors are those of the Python package')
    call shared%evaluate(points(:, 1), found(1), found(2), workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'workspace')
    call ideal%evaluate(points(1:5, 1), found(1), found(2), workspace, error)
    call fails(error, ZELOS_E_ARGUMENT, 'expected size 6, found 5')
    call ideal%calibration(factor, n_left_out)
    call expect(factor > 0 .and. n_left_out >= 0, 'calibration')
  end subroutine

  subroutine fallbacks()
    type(zelos_emulator_t) :: emulator
    type(zelos_fallback_t) :: fallback, shared
    type(zelos_query_t) :: query
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    type(zelos_verdict_t) :: verdict
    real(dp) :: out(2), emulated(2), outside(n_parameters)
    integer :: source

    call fallback%open(emulator, trim(plugin), error)
    call fails(error, ZELOS_E_ARGUMENT, 'nothing is held')
    call emulator%open(trim(artifact), error)
    call fine(error)
    call fallback%open(emulator, '/no/such/plugin.so', error)
    call expect(error%status /= ZELOS_OK .and. index(error%message, '/no/such/plugin.so') > 0, 'a plugin that is not there')
    call fallback%open(emulator, trim(plugin), error)
    call fails(error, ZELOS_E_ARGUMENT, '0.0.1')
    call emulator%query(names, one('Cl.tt', [220.0_dp, 500.0_dp]), query, error)
    call fine(error)
    call query%workspace(workspace, error)
    call fine(error)
    call query%evaluate(points(:, 1), emulated, workspace, error)
    call fine(error)
    outside = points(:, 1)
    outside(4) = 0.3_dp
    call query%answer(fallback, outside, out, workspace, error, verdict, source)
    call fails(error, ZELOS_E_OUTSIDE, 'tau')
    call expect(source == ZELOS_SOURCE_NONE, 'without a fallback nobody answers')
    call fallback%open(emulator, trim(plugin), error, any_version=.true., settings='{}')
    call fine(error)
    call expect(fallback%code() == 'camb' .and. fallback%version() == '0.0.1' .and. &
                index(fallback%differences(), '0.0.1') > 0, 'what the fallback is')
    shared = fallback
    call fallback%release()
    call query%answer(shared, points(:, 1), out, workspace, error, verdict, source)
    call fine(error)
    call expect(source == ZELOS_SOURCE_EMULATOR .and. all(abs(out - emulated) <= 0), 'inside the emulator answers')
    call query%answer(shared, outside, out, workspace, error, verdict, source)
    call fine(error)
    call expect(source == ZELOS_SOURCE_FALLBACK .and. all(abs(out - 1) <= 0), 'outside the fallback answers')
    call expect(verdict%reason == ZELOS_BOX .and. verdict%parameter == 'tau', 'and the verdict says why')
  end subroutine

  !> Shares, in arrays and in types, end once each: a memory checker sees what this leaves.
  subroutine ownership()
    type :: holder
      type(zelos_emulator_t) :: emulator
      type(zelos_query_t), allocatable :: queries(:)
    end type
    type(zelos_emulator_t) :: emulator
    type(zelos_query_t) :: copy
    type(zelos_workspace_t) :: workspace
    type(zelos_error_t) :: error
    type(holder) :: a, b
    real(dp) :: out(1)
    integer :: i

    call emulator%open(trim(artifact), error)
    call fine(error)
    a%emulator = emulator
    call emulator%release()
    call emulator%release()
    call expect(a%emulator%is_open() .and. .not. emulator%is_open(), 'a share outlives what it was taken from')
    allocate (a%queries(3))
    do i = 1, 3
      call a%emulator%query(names, one('Cl.tt', [10.0_dp*i]), a%queries(i), error)
      call fine(error)
    end do
    b%emulator = a%emulator
    copy = a%queries(2)
    copy = a%queries(3)
    deallocate (a%queries)
    call a%emulator%release()
    call b%emulator%open(trim(artifact), error)
    call fine(error)
    call copy%workspace(workspace, error)
    call fine(error)
    call copy%evaluate(points(:, 1), out, workspace, error)
    call fine(error)
    call expect(out(1) > 0, 'a shared query answers')
  end subroutine
end program
