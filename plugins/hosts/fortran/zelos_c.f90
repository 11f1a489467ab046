! SPDX-License-Identifier: BSD-3-Clause
!> zelos_c.f90: the structs and functions of zelos.h as they are, and strings between C and Fortran. For zelos.f90, which is what
!> programs use.
module zelos_c
  use, intrinsic :: iso_c_binding
  implicit none
  public

  type, bind(C) :: c_error
    integer(c_int32_t) :: struct_size = 0
    integer(c_int32_t) :: code = 0
    character(kind=c_char) :: message(1016) = c_null_char
  end type

  type, bind(C) :: c_parameter_info
    integer(c_int32_t) :: struct_size = 0
    type(c_ptr) :: name, unit, latex
    real(c_double) :: min, max
    integer(c_int32_t) :: n_synonyms
    type(c_ptr) :: synonyms
  end type

  type, bind(C) :: c_output_info
    integer(c_int32_t) :: struct_size = 0
    type(c_ptr) :: name, unit, family
    integer(c_int32_t) :: n_axes
    integer(c_int64_t) :: shape(4)
  end type

  type, bind(C) :: c_axis_info
    integer(c_int32_t) :: struct_size = 0
    type(c_ptr) :: name, unit
    integer(c_int64_t) :: size
    type(c_ptr) :: values, labels
  end type

  type, bind(C) :: c_request
    integer(c_int32_t) :: struct_size = 0
    type(c_ptr) :: output = c_null_ptr, axis_sizes = c_null_ptr, axis_values = c_null_ptr
  end type

  type, bind(C) :: c_verdict
    integer(c_int32_t) :: struct_size = 0
    integer(c_int) :: reason = 0
    character(kind=c_char) :: parameter(64) = c_null_char
    real(c_double) :: value = 0, lower = 0, upper = 0, excess = 0
    character(kind=c_char) :: message(376) = c_null_char
  end type

  type, bind(C) :: c_likelihood
    integer(c_int32_t) :: struct_size = 0
    integer(c_int64_t) :: n_data = 0
    type(c_ptr) :: covariance = c_null_ptr, matrix = c_null_ptr, reference = c_null_ptr
  end type

  type, bind(C) :: c_fallback_options
    integer(c_int32_t) :: struct_size = 0
    integer(c_int32_t) :: any_version = 0
    type(c_ptr) :: settings_json = c_null_ptr, cache = c_null_ptr
  end type

  interface
    function c_version() bind(C, name="zelos_version") result(text)
      import :: c_ptr
      type(c_ptr) :: text
    end function
    subroutine c_abi_version(major, minor) bind(C, name="zelos_abi_version")
      import :: c_int32_t
      integer(c_int32_t), intent(out) :: major, minor
    end subroutine
    function c_status_text(status) bind(C, name="zelos_status_text") result(text)
      import :: c_int, c_ptr
      integer(c_int), value :: status
      type(c_ptr) :: text
    end function
    function c_open(path, options, emulator, error) bind(C, name="zelos_emulator_open") result(status)
      import :: c_char, c_ptr, c_int, c_error
      character(kind=c_char), intent(in) :: path(*)
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: emulator
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_close(emulator) bind(C, name="zelos_emulator_close")
      import :: c_ptr
      type(c_ptr), value :: emulator
    end subroutine
    function c_emulator_name(emulator) bind(C, name="zelos_emulator_name") result(text)
      import :: c_ptr
      type(c_ptr), value :: emulator
      type(c_ptr) :: text
    end function
    function c_emulator_version(emulator) bind(C, name="zelos_emulator_version") result(text)
      import :: c_ptr
      type(c_ptr), value :: emulator
      type(c_ptr) :: text
    end function
    function c_emulator_id(emulator) bind(C, name="zelos_emulator_id") result(text)
      import :: c_ptr
      type(c_ptr), value :: emulator
      type(c_ptr) :: text
    end function
    function c_info_json(emulator) bind(C, name="zelos_emulator_info_json") result(text)
      import :: c_ptr
      type(c_ptr), value :: emulator
      type(c_ptr) :: text
    end function
    function c_n_parameters(emulator) bind(C, name="zelos_emulator_n_parameters") result(n)
      import :: c_ptr, c_int32_t
      type(c_ptr), value :: emulator
      integer(c_int32_t) :: n
    end function
    function c_parameter(emulator, index, info, error) bind(C, name="zelos_emulator_parameter") result(status)
      import :: c_ptr, c_int32_t, c_int, c_parameter_info, c_error
      type(c_ptr), value :: emulator
      integer(c_int32_t), value :: index
      type(c_parameter_info), intent(inout) :: info
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_n_outputs(emulator) bind(C, name="zelos_emulator_n_outputs") result(n)
      import :: c_ptr, c_int32_t
      type(c_ptr), value :: emulator
      integer(c_int32_t) :: n
    end function
    function c_output(emulator, index, info, error) bind(C, name="zelos_emulator_output") result(status)
      import :: c_ptr, c_int32_t, c_int, c_output_info, c_error
      type(c_ptr), value :: emulator
      integer(c_int32_t), value :: index
      type(c_output_info), intent(inout) :: info
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_axis(emulator, output, axis, info, error) bind(C, name="zelos_emulator_axis") result(status)
      import :: c_ptr, c_int32_t, c_int, c_axis_info, c_error
      type(c_ptr), value :: emulator
      integer(c_int32_t), value :: output, axis
      type(c_axis_info), intent(inout) :: info
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_query_create(emulator, n_parameters, parameter_names, n_requests, requests, query, error) &
        bind(C, name="zelos_query_create") result(status)
      import :: c_ptr, c_int32_t, c_int, c_request, c_error
      type(c_ptr), value :: emulator
      integer(c_int32_t), value :: n_parameters
      type(c_ptr), intent(in) :: parameter_names(*)
      integer(c_int32_t), value :: n_requests
      type(c_request), intent(in) :: requests(*)
      type(c_ptr), intent(inout) :: query
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_query_destroy(query) bind(C, name="zelos_query_destroy")
      import :: c_ptr
      type(c_ptr), value :: query
    end subroutine
    function c_query_size(query) bind(C, name="zelos_query_size") result(n)
      import :: c_ptr, c_int64_t
      type(c_ptr), value :: query
      integer(c_int64_t) :: n
    end function
    function c_query_block(query, index, offset, size, error) bind(C, name="zelos_query_block") result(status)
      import :: c_ptr, c_int32_t, c_int64_t, c_int, c_error
      type(c_ptr), value :: query
      integer(c_int32_t), value :: index
      integer(c_int64_t), intent(inout) :: offset, size
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_workspace_create(query, workspace, error) bind(C, name="zelos_workspace_create") result(status)
      import :: c_ptr, c_int, c_error
      type(c_ptr), value :: query
      type(c_ptr), intent(inout) :: workspace
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_workspace_destroy(workspace) bind(C, name="zelos_workspace_destroy")
      import :: c_ptr
      type(c_ptr), value :: workspace
    end subroutine
    function c_evaluate(query, values, out, workspace, verdict, error) bind(C, name="zelos_evaluate") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: out(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_evaluate_batch(query, n, values, out, inside, workspace, error) &
        bind(C, name="zelos_evaluate_batch") result(status)
      import :: c_ptr, c_double, c_int, c_int32_t, c_int64_t, c_error
      type(c_ptr), value :: query
      integer(c_int64_t), value :: n
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: out(*)
      integer(c_int32_t), intent(inout) :: inside(*)
      type(c_ptr), value :: workspace
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_jacobian(query, values, out, jacobian, workspace, verdict, error) bind(C, name="zelos_jacobian") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: out(*), jacobian(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_jvp(query, values, direction, out, product, workspace, verdict, error) bind(C, name="zelos_jvp") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*), direction(*)
      real(c_double), intent(inout) :: out(*), product(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_vjp(query, values, cotangent, out, product, workspace, verdict, error) bind(C, name="zelos_vjp") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*), cotangent(*)
      real(c_double), intent(inout) :: out(*), product(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_verdict_at(query, values, workspace, verdict, error) bind(C, name="zelos_verdict_at") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_predicted_error(query, values, errors, workspace, error) bind(C, name="zelos_predicted_error") result(status)
      import :: c_ptr, c_double, c_int, c_error
      type(c_ptr), value :: query
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: errors(*)
      type(c_ptr), value :: workspace
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_error_model_create(query, likelihood, model, error) bind(C, name="zelos_error_model_create") result(status)
      import :: c_ptr, c_int, c_likelihood, c_error
      type(c_ptr), value :: query
      type(c_likelihood), intent(in) :: likelihood
      type(c_ptr), intent(inout) :: model
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_error_model_destroy(model) bind(C, name="zelos_error_model_destroy")
      import :: c_ptr
      type(c_ptr), value :: model
    end subroutine
    function c_error_model_evaluate(model, values, mean, quantile, workspace, error) &
        bind(C, name="zelos_error_model_evaluate") result(status)
      import :: c_ptr, c_double, c_int, c_error
      type(c_ptr), value :: model
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: mean, quantile
      type(c_ptr), value :: workspace
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_error_model_calibration(model, factor, n_left_out) bind(C, name="zelos_error_model_calibration")
      import :: c_ptr, c_double, c_int64_t
      type(c_ptr), value :: model
      real(c_double), intent(inout) :: factor
      integer(c_int64_t), intent(inout) :: n_left_out
    end subroutine
    function c_fallback_open(emulator, name, options, fallback, error) bind(C, name="zelos_fallback_open") result(status)
      import :: c_ptr, c_char, c_int, c_fallback_options, c_error
      type(c_ptr), value :: emulator
      character(kind=c_char), intent(in) :: name(*)
      type(c_fallback_options), intent(in) :: options
      type(c_ptr), intent(inout) :: fallback
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    subroutine c_fallback_close(fallback) bind(C, name="zelos_fallback_close")
      import :: c_ptr
      type(c_ptr), value :: fallback
    end subroutine
    function c_fallback_code(fallback) bind(C, name="zelos_fallback_code") result(text)
      import :: c_ptr
      type(c_ptr), value :: fallback
      type(c_ptr) :: text
    end function
    function c_fallback_version(fallback) bind(C, name="zelos_fallback_version") result(text)
      import :: c_ptr
      type(c_ptr), value :: fallback
      type(c_ptr) :: text
    end function
    function c_fallback_differences(fallback) bind(C, name="zelos_fallback_differences") result(text)
      import :: c_ptr
      type(c_ptr), value :: fallback
      type(c_ptr) :: text
    end function
    function c_answer(query, fallback, values, out, workspace, verdict, source, error) bind(C, name="zelos_answer") result(status)
      import :: c_ptr, c_double, c_int, c_verdict, c_error
      type(c_ptr), value :: query, fallback
      real(c_double), intent(in) :: values(*)
      real(c_double), intent(inout) :: out(*)
      type(c_ptr), value :: workspace
      type(c_verdict), intent(inout) :: verdict
      integer(c_int), intent(inout) :: source
      type(c_error), intent(inout) :: error
      integer(c_int) :: status
    end function
    function c_strlen(text) bind(C, name="strlen") result(n)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
      integer(c_size_t) :: n
    end function
  end interface

contains

  pure function to_c(text) result(copy)
    character(len=*), intent(in) :: text
    character(kind=c_char) :: copy(len_trim(text) + 1)
    integer :: i
    do i = 1, len_trim(text)
      copy(i) = text(i:i)
    end do
    copy(size(copy)) = c_null_char
  end function

  function from_c(pointer) result(text)
    type(c_ptr), intent(in) :: pointer
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: characters(:)
    integer :: i, n

    text = ''
    if (.not. c_associated(pointer)) return
    n = int(c_strlen(pointer))
    call c_f_pointer(pointer, characters, [n])
    deallocate (text)
    allocate (character(len=n) :: text)
    do i = 1, n
      text(i:i) = characters(i)
    end do
  end function

  function until_null(characters) result(text)
    character(kind=c_char), intent(in) :: characters(:)
    character(len=:), allocatable :: text
    integer :: i, n

    n = size(characters)
    do i = 1, size(characters)
      if (characters(i) == c_null_char) then
        n = i - 1
        exit
      end if
    end do
    allocate (character(len=n) :: text)
    do i = 1, n
      text(i:i) = characters(i)
    end do
  end function

  subroutine padded(pointers, texts)
    type(c_ptr), intent(in) :: pointers(:)
    character(len=:), allocatable, intent(out) :: texts(:)
    integer :: i, longest

    longest = 1
    do i = 1, size(pointers)
      longest = max(longest, int(c_strlen(pointers(i))))
    end do
    allocate (character(len=longest) :: texts(size(pointers)))
    do i = 1, size(pointers)
      texts(i) = from_c(pointers(i))
    end do
  end subroutine

end module
