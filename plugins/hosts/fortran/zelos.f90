! SPDX-License-Identifier: BSD-3-Clause
!> zelos.f90: zelos.h for Fortran 2008. Compile zelos_c.f90 and this file with your program, with its compiler, and link
!> libzelos.
!>
!> The objects are those of zelos.h (its rules hold; units are those of the artifact):
!>   zelos_emulator_t   an opened artifact
!>   zelos_query_t      a bound question: names of parameters, and requests (zelos_requests_t)
!>   zelos_workspace_t  scratch memory of one thread, for one query
!>   zelos_fallback_t   the real code for points outside; query%answer asks the one or the other
!>   zelos_error_model_t  what the errors of a query's outputs do to a likelihood
!> They release what they hold when they are finalized, or by %release(), which may be called at any time and twice. A
!> program's own variables are not finalized when it ends: release them, or keep them in a procedure. Assignment shares
!> what is held (counted; not by several threads at once). allocate(..., source=) copies without counting: do not use it
!> on a variable that holds one of them.
!>
!> Every procedure that can fail has `error`, type(zelos_error_t): status, and a message of one line. Arrays are the
!> caller's, and of exactly the length that is said here: another is ZELOS_E_ARGUMENT. On an error arrays are untouched.
!> C's row-major arrays have their dimensions reversed here: values(n_parameters, n), out(size, n),
!> jacobian(n_parameters, size); a block with axes (k, z) reads block(n_z, n_k). Indices and positions begin with 1.
module zelos
  use, intrinsic :: iso_c_binding
  use zelos_c
  implicit none
  private

  integer(c_int), parameter, public :: ZELOS_OK = 0, ZELOS_E_ARGUMENT = 1, ZELOS_E_OUTSIDE = 2, ZELOS_E_FORMAT = 3, &
    ZELOS_E_IO = 4, ZELOS_E_NUMERIC = 5, ZELOS_E_MEMORY = 6, ZELOS_E_CANCELLED = 7, ZELOS_E_MISSING = 8, ZELOS_E_INTERNAL = 9
  integer(c_int), parameter, public :: ZELOS_INSIDE = 0, ZELOS_NOT_FINITE = 1, ZELOS_FIXED_PARAMETER = 2, ZELOS_BOX = 3, &
    ZELOS_HULL = 4, ZELOS_ERROR_BOUND = 5, ZELOS_NO_SOLUTION = 6
  integer, parameter :: ABI_MAJOR = 1, MAX_NAME = 255

  integer(c_int), parameter, public :: ZELOS_SOURCE_NONE = 0, ZELOS_SOURCE_EMULATOR = 1, ZELOS_SOURCE_FALLBACK = 2

  type, public :: zelos_error_t
    integer(c_int) :: status = ZELOS_OK
    character(len=:), allocatable :: message !< allocated unless status is ZELOS_OK
  end type

  !> Where a point lies. message is allocated unless it is inside.
  type, public :: zelos_verdict_t
    integer(c_int) :: reason = ZELOS_INSIDE
    character(len=:), allocatable :: parameter
    real(c_double) :: value = 0, lower = 0, upper = 0, excess = 0
    character(len=:), allocatable :: message
  end type

  type :: request_t
    character(len=:), allocatable :: output
    real(c_double), allocatable :: axis1(:), axis2(:)
  end type

  !> Outputs that are asked for, in this order.
  type, public :: zelos_requests_t
    private
    type(request_t), allocatable :: list(:)
  contains
    procedure :: add => requests_add
    procedure :: size => requests_size
  end type

  type, public :: zelos_parameter_t
    character(len=:), allocatable :: name, unit
    real(c_double) :: min = 0, max = 0 !< the box, inclusive
  end type

  !> A native axis: values ascending, or labels (padded to one length) of a labelled one.
  type, public :: zelos_axis_t
    character(len=:), allocatable :: name, unit
    real(c_double), allocatable :: values(:)
    character(len=:), allocatable :: labels(:) !< of size 0 if the axis has none
  end type

  type, public :: zelos_emulator_t
    private
    type(c_ptr) :: handle = c_null_ptr
    integer, pointer :: owners => null()
  contains
    procedure :: open => emulator_open
    procedure :: name => emulator_name
    procedure :: version => emulator_version
    procedure :: id => emulator_id
    procedure :: info_json => emulator_info_json
    procedure :: info => emulator_info
    procedure :: is_open => emulator_is_open
    procedure :: parameters => emulator_parameters
    procedure :: outputs => emulator_outputs
    procedure :: axis => emulator_axis
    procedure :: query => emulator_query
    procedure :: release => emulator_release
    procedure, private :: emulator_share
    generic :: assignment(=) => emulator_share
    final :: emulator_final
  end type

  type, public :: zelos_query_t
    private
    type(c_ptr) :: handle = c_null_ptr
    integer, pointer :: owners => null()
    integer :: n_parameters_ = 0, n_requests_ = 0
  contains
    procedure :: size => query_size
    procedure :: n_parameters => query_n_parameters
    procedure :: block => query_block
    procedure :: workspace => query_workspace
    procedure :: evaluate => query_evaluate
    procedure :: answer => query_answer
    procedure :: evaluate_batch => query_evaluate_batch
    procedure :: jacobian => query_jacobian
    procedure :: jvp => query_jvp
    procedure :: vjp => query_vjp
    procedure :: verdict => query_verdict
    procedure :: predicted_error => query_predicted_error
    procedure :: error_model => query_error_model
    procedure :: release => query_release
    procedure, private :: query_share
    generic :: assignment(=) => query_share
    final :: query_final
  end type

  type, public :: zelos_workspace_t
    private
    type(c_ptr) :: handle = c_null_ptr
    integer, pointer :: owners => null()
  contains
    procedure :: release => workspace_release
    procedure, private :: workspace_share
    generic :: assignment(=) => workspace_share
    final :: workspace_final
  end type

  type, public :: zelos_error_model_t
    private
    type(c_ptr) :: handle = c_null_ptr
    integer, pointer :: owners => null()
    integer :: n_parameters_ = 0
  contains
    procedure :: evaluate => error_model_evaluate
    procedure :: calibration => error_model_calibration
    procedure :: release => error_model_release
    procedure, private :: error_model_share
    generic :: assignment(=) => error_model_share
    final :: error_model_final
  end type

  type, public :: zelos_fallback_t
    private
    type(c_ptr) :: handle = c_null_ptr
    integer, pointer :: owners => null()
  contains
    procedure :: open => fallback_open
    procedure :: code => fallback_code
    procedure :: version => fallback_version
    procedure :: differences => fallback_differences
    procedure :: release => fallback_release
    procedure, private :: fallback_share
    generic :: assignment(=) => fallback_share
    final :: fallback_final
  end type

  public :: zelos_version, zelos_status_text

contains

  !> Asks for an output as well, with ascending points inside the native range of its axes, in their order; an axis that
  !> is not given is the native one.
  subroutine requests_add(this, output, axis1, axis2)
    class(zelos_requests_t), intent(inout) :: this
    character(len=*), intent(in) :: output
    real(c_double), intent(in), optional :: axis1(:), axis2(:)
    type(request_t), allocatable :: longer(:)
    integer :: i, n

    n = this%size()
    allocate (longer(n + 1))
    do i = 1, n
      call move_alloc(this%list(i)%output, longer(i)%output)
      call move_alloc(this%list(i)%axis1, longer(i)%axis1)
      call move_alloc(this%list(i)%axis2, longer(i)%axis2)
    end do
    longer(n + 1)%output = trim(output)
    if (present(axis1)) allocate (longer(n + 1)%axis1, source=axis1)
    if (present(axis2)) allocate (longer(n + 1)%axis2, source=axis2)
    call move_alloc(longer, this%list)
  end subroutine

  pure integer function requests_size(this)
    class(zelos_requests_t), intent(in) :: this
    requests_size = 0
    if (allocated(this%list)) requests_size = size(this%list)
  end function

  !> Version of the library.
  function zelos_version() result(text)
    character(len=:), allocatable :: text
    text = from_c(c_version())
  end function

  !> A short English name of a status.
  function zelos_status_text(status) result(text)
    integer(c_int), intent(in) :: status
    character(len=:), allocatable :: text
    text = from_c(c_status_text(status))
  end function

  ! --- emulator ---

  !> Opens NAME.h5 in place of what was held.
  subroutine emulator_open(this, path, error)
    class(zelos_emulator_t), intent(inout) :: this
    character(len=*), intent(in) :: path
    type(zelos_error_t), intent(out) :: error
    type(c_error) :: record
    type(c_ptr) :: handle
    integer(c_int32_t) :: major, minor
    character(len=80) :: text

    call this%release()
    call c_abi_version(major, minor)
    if (major /= ABI_MAJOR) then
      write (text, '(a,i0,a,i0)') 'libzelos has ABI ', major, ', the module zelos needs ', ABI_MAJOR
      call fail(error, ZELOS_E_MISSING, trim(text))
      return
    end if
    handle = c_null_ptr
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_open(to_c(path), c_null_ptr, handle, record), record, error)) return
    this%handle = handle
    allocate (this%owners, source=1)
  end subroutine

  logical function emulator_is_open(this)
    class(zelos_emulator_t), intent(in) :: this
    emulator_is_open = c_associated(this%handle)
  end function

  !> name, version, id (SHA-256 of the artifact's body) and info_json are empty strings if nothing is open.
  function emulator_name(this) result(text)
    class(zelos_emulator_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (this%is_open()) text = from_c(c_emulator_name(this%handle))
  end function

  function emulator_version(this) result(text)
    class(zelos_emulator_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (this%is_open()) text = from_c(c_emulator_version(this%handle))
  end function

  function emulator_id(this) result(text)
    class(zelos_emulator_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (this%is_open()) text = from_c(c_emulator_id(this%handle))
  end function

  function emulator_info_json(this) result(text)
    class(zelos_emulator_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (this%is_open()) text = from_c(c_info_json(this%handle))
  end function

  !> What info_json says under keys separated by '/', as 'provenance/config/lmax': the text of a string, without its quotes
  !> but with its escapes, else the value as it is written. An empty string if there is no such value.
  function emulator_info(this, path) result(text)
    class(zelos_emulator_t), intent(in) :: this
    character(len=*), intent(in) :: path
    character(len=:), allocatable :: text
    character(len=:), allocatable :: json
    integer :: at, first, last

    json = this%info_json()
    text = ''
    at = 1
    first = 1
    do while (first <= len(path))
      last = index(path(first:), '/')
      last = merge(len(path), first + last - 2, last == 0)
      at = json_member(json, at, path(first:last))
      if (at == 0) return
      first = last + 2
    end do
    last = json_end(json, at)
    if (last < at) return
    text = json(at:last)
    if (json(at:at) == '"') text = json(at + 1:last - 1)
  end function

  !> Where the value of `key` begins in the object that begins at `at` of valid JSON without white space; 0 if it is no
  !> object or has no such key.
  pure integer function json_member(json, at, key)
    character(len=*), intent(in) :: json, key
    integer, intent(in) :: at
    integer :: i, last

    json_member = 0
    if (json(at:min(at, len(json))) /= '{') return
    i = at + 1
    do while (i < len(json))
      if (json(i:i) /= '"') return
      last = json_end(json, i)
      json_member = last + 2
      if (json(i + 1:last - 1) == key .and. last - i - 1 == len(key)) return
      json_member = 0
      i = json_end(json, last + 2) + 2
    end do
  end function

  !> Where the value that begins at `at` ends.
  pure integer function json_end(json, at)
    character(len=*), intent(in) :: json
    integer, intent(in) :: at
    integer :: depth, i
    logical :: in_string

    json_end = len(json)
    depth = 0
    in_string = .false.
    i = at
    do while (i <= len(json))
      if (in_string) then
        if (json(i:i) == '\') then
          i = i + 1
        else if (json(i:i) == '"') then
          in_string = .false.
          if (depth == 0) exit
        end if
      else
        select case (json(i:i))
        case ('"')
          in_string = .true.
        case ('{', '[')
          depth = depth + 1
        case ('}', ']')
          if (depth == 0) then
            i = i - 1
            exit
          end if
          depth = depth - 1
          if (depth == 0) exit
        case (',')
          if (depth == 0) then
            i = i - 1
            exit
          end if
        end select
      end if
      i = i + 1
    end do
    json_end = min(i, len(json))
  end function

  !> The inputs, in canonical order.
  subroutine emulator_parameters(this, list, error)
    class(zelos_emulator_t), intent(in) :: this
    type(zelos_parameter_t), allocatable, intent(out) :: list(:)
    type(zelos_error_t), intent(out) :: error
    type(c_parameter_info) :: info
    type(c_error) :: record
    integer :: i

    if (closed(this%handle, 'emulator%parameters', error)) return
    allocate (list(c_n_parameters(this%handle)))
    record%struct_size = int(c_sizeof(record), c_int32_t)
    do i = 1, size(list)
      info%struct_size = int(c_sizeof(info), c_int32_t)
      if (failed(c_parameter(this%handle, int(i - 1, c_int32_t), info, record), record, error)) return
      list(i)%name = from_c(info%name)
      list(i)%unit = from_c(info%unit)
      list(i)%min = info%min
      list(i)%max = info%max
    end do
  end subroutine

  !> Names of the outputs, padded to one length.
  subroutine emulator_outputs(this, names, error)
    class(zelos_emulator_t), intent(in) :: this
    character(len=:), allocatable, intent(out) :: names(:)
    type(zelos_error_t), intent(out) :: error
    type(c_output_info) :: info
    type(c_error) :: record
    type(c_ptr), allocatable :: texts(:)
    integer :: i

    if (closed(this%handle, 'emulator%outputs', error)) return
    allocate (texts(c_n_outputs(this%handle)))
    record%struct_size = int(c_sizeof(record), c_int32_t)
    do i = 1, size(texts)
      info%struct_size = int(c_sizeof(info), c_int32_t)
      if (failed(c_output(this%handle, int(i - 1, c_int32_t), info, record), record, error)) return
      texts(i) = info%name
    end do
    call padded(texts, names)
  end subroutine

  !> The index-th axis of an output. ZELOS_E_ARGUMENT if the emulator has no such output or axis.
  subroutine emulator_axis(this, output, index, axis, error)
    class(zelos_emulator_t), intent(in) :: this
    character(len=*), intent(in) :: output
    integer, intent(in) :: index
    type(zelos_axis_t), intent(out) :: axis
    type(zelos_error_t), intent(out) :: error
    type(c_axis_info) :: info
    type(c_error) :: record
    real(c_double), pointer :: values(:)
    type(c_ptr), pointer :: labels(:)
    integer :: found

    if (closed(this%handle, 'emulator%axis', error)) return
    found = position_of(this%handle, output)
    if (found == 0) then
      call fail(error, ZELOS_E_ARGUMENT, "emulator%axis: the emulator has no output '"//trim(output)//"'")
      return
    end if
    info%struct_size = int(c_sizeof(info), c_int32_t)
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_axis(this%handle, int(found - 1, c_int32_t), int(index - 1, c_int32_t), info, record), record, error)) return
    axis%name = from_c(info%name)
    axis%unit = from_c(info%unit)
    call c_f_pointer(info%values, values, [info%size])
    allocate (axis%values, source=values)
    if (c_associated(info%labels)) then
      call c_f_pointer(info%labels, labels, [info%size])
      call padded(labels, axis%labels)
    else
      allocate (character(len=1) :: axis%labels(0))
    end if
  end subroutine

  !> Position of an output, 0 if there is none of this name.
  integer function position_of(handle, output)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: output
    type(c_output_info) :: info
    type(c_error) :: record
    integer(c_int32_t) :: i

    position_of = 0
    record%struct_size = int(c_sizeof(record), c_int32_t)
    do i = 0, c_n_outputs(handle) - 1
      info%struct_size = int(c_sizeof(info), c_int32_t)
      if (c_output(handle, i, info, record) /= ZELOS_OK) return
      if (from_c(info%name) == output) position_of = i + 1
    end do
  end function

  !> zelos.h reads as many axes as the output has.
  logical function too_many_axes(handle, request, error)
    type(c_ptr), intent(in) :: handle
    type(request_t), intent(in) :: request
    type(zelos_error_t), intent(inout) :: error
    type(c_output_info) :: info
    type(c_error) :: record
    integer :: found, given
    character(len=40) :: text

    too_many_axes = .false.
    found = position_of(handle, request%output)
    if (found == 0) return
    info%struct_size = int(c_sizeof(info), c_int32_t)
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (c_output(handle, int(found - 1, c_int32_t), info, record) /= ZELOS_OK) return
    given = merge(2, merge(1, 0, allocated(request%axis1)), allocated(request%axis2))
    too_many_axes = given > info%n_axes
    if (.not. too_many_axes) return
    write (text, '(a,i0,a,i0)') ' has ', info%n_axes, ' axes, found ', given
    call fail(error, ZELOS_E_ARGUMENT, "emulator%query: output '"//request%output//"'"//trim(text))
  end function

  !> Binds names (trailing blanks do not count) and requests; in place of what `query` held.
  subroutine emulator_query(this, names, requests, query, error)
    class(zelos_emulator_t), intent(in) :: this
    character(len=*), intent(in) :: names(:)
    class(zelos_requests_t), intent(in), target :: requests
    type(zelos_query_t), intent(inout) :: query
    type(zelos_error_t), intent(out) :: error
    character(kind=c_char), target :: texts(len(names) + 1, size(names)), outputs(MAX_NAME + 1, requests%size())
    type(c_ptr) :: name_list(size(names))
    type(c_request) :: list(requests%size())
    integer(c_int64_t), target :: sizes(2, requests%size())
    type(c_ptr), target :: points(2, requests%size())
    type(c_error) :: record
    type(c_ptr) :: handle
    integer :: i

    call query%release()
    if (closed(this%handle, 'emulator%query', error)) return
    do i = 1, size(names)
      texts(1:len_trim(names(i)) + 1, i) = to_c(names(i))
      name_list(i) = c_loc(texts(1, i))
    end do
    do i = 1, requests%size()
      if (len_trim(requests%list(i)%output) > MAX_NAME) then
        call fail(error, ZELOS_E_ARGUMENT, "emulator%query: there is no output '"//trim(requests%list(i)%output)//"'")
        return
      end if
      if (too_many_axes(this%handle, requests%list(i), error)) return
    end do
    sizes = 0
    points = c_null_ptr
    do i = 1, requests%size()
      outputs(1:len_trim(requests%list(i)%output) + 1, i) = to_c(requests%list(i)%output)
      if (allocated(requests%list(i)%axis1)) call take(requests%list(i)%axis1, sizes(1, i), points(1, i))
      if (allocated(requests%list(i)%axis2)) call take(requests%list(i)%axis2, sizes(2, i), points(2, i))
      list(i)%struct_size = int(c_sizeof(list(i)), c_int32_t)
      list(i)%output = c_loc(outputs(1, i))
      list(i)%axis_sizes = c_loc(sizes(1, i))
      list(i)%axis_values = c_loc(points(1, i))
    end do
    handle = c_null_ptr
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_query_create(this%handle, size(names, kind=c_int32_t), name_list, int(requests%size(), c_int32_t), &
                              list, handle, record), record, error)) return
    query%handle = handle
    allocate (query%owners, source=1)
    query%n_parameters_ = size(names)
    query%n_requests_ = requests%size()
  contains
    subroutine take(axis, n, at)
      real(c_double), intent(in), target :: axis(:)
      integer(c_int64_t), intent(out) :: n
      type(c_ptr), intent(out) :: at
      n = size(axis, kind=c_int64_t)
      if (n > 0) at = c_loc(axis(1))
    end subroutine
  end subroutine

  ! --- query ---

  !> Length of the answer; 0 if there is no question.
  integer(c_int64_t) function query_size(this)
    class(zelos_query_t), intent(in) :: this
    query_size = 0
    if (c_associated(this%handle)) query_size = c_query_size(this%handle)
  end function

  integer function query_n_parameters(this)
    class(zelos_query_t), intent(in) :: this
    query_n_parameters = this%n_parameters_
  end function

  !> The answer to request `index` is out(first:last).
  subroutine query_block(this, index, first, last, error)
    class(zelos_query_t), intent(in) :: this
    integer, intent(in) :: index
    integer(c_int64_t), intent(out) :: first, last
    type(zelos_error_t), intent(out) :: error
    type(c_error) :: record
    integer(c_int64_t) :: offset, length

    first = 1
    last = 0
    if (closed(this%handle, 'query%block', error)) return
    offset = 0
    length = 0
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_query_block(this%handle, int(index - 1, c_int32_t), offset, length, record), record, error)) return
    first = offset + 1
    last = offset + length
  end subroutine

  !> A new workspace of this query, in place of what `workspace` held.
  subroutine query_workspace(this, workspace, error)
    class(zelos_query_t), intent(in) :: this
    type(zelos_workspace_t), intent(inout) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(c_error) :: record
    type(c_ptr) :: handle

    call workspace%release()
    if (closed(this%handle, 'query%workspace', error)) return
    handle = c_null_ptr
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_workspace_create(this%handle, handle, record), record, error)) return
    workspace%handle = handle
    allocate (workspace%owners, source=1)
  end subroutine

  !> values(n_parameters) -> out(size). A point outside the region is ZELOS_E_OUTSIDE; the verdict says why.
  subroutine query_evaluate(this, values, out, workspace, error, verdict)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:)
    real(c_double), intent(inout), contiguous :: out(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(zelos_verdict_t), intent(out), optional :: verdict
    type(c_verdict) :: found
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'query%evaluate', error)) return
    if (wrong('query%evaluate: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%evaluate: out', size(out), this%size(), error)) return
    call begin(found, record)
    bad = failed(c_evaluate(this%handle, values, out, workspace%handle, found, record), record, error)
    call finish(found, verdict)
  end subroutine

  !> As evaluate, but a point outside is the fallback's: `source` says who answered. Not for a query of another emulator.
  subroutine query_answer(this, fallback, values, out, workspace, error, verdict, source)
    class(zelos_query_t), intent(in) :: this
    type(zelos_fallback_t), intent(in) :: fallback
    real(c_double), intent(in), contiguous :: values(:)
    real(c_double), intent(inout), contiguous :: out(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(zelos_verdict_t), intent(out), optional :: verdict
    integer(c_int), intent(out), optional :: source
    type(c_verdict) :: found
    type(c_error) :: record
    integer(c_int) :: answered_by
    logical :: bad

    answered_by = ZELOS_SOURCE_NONE
    if (present(source)) source = answered_by
    if (closed(this%handle, 'query%answer', error)) return
    if (wrong('query%answer: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%answer: out', size(out), this%size(), error)) return
    call begin(found, record)
    bad = failed(c_answer(this%handle, fallback%handle, values, out, workspace%handle, found, answered_by, record), record, error)
    if (present(source)) source = answered_by
    call finish(found, verdict)
  end subroutine

  !> values(n_parameters, n) -> out(size, n). inside(n): false where the point is outside and out was left.
  subroutine query_evaluate_batch(this, values, out, inside, workspace, error)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:, :)
    real(c_double), intent(inout), contiguous :: out(:, :)
    logical, intent(out) :: inside(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    integer(c_int32_t) :: flags(size(inside))
    type(c_error) :: record
    integer(c_int64_t) :: n
    logical :: bad

    inside = .false.
    n = size(values, 2, kind=c_int64_t)
    if (closed(this%handle, 'query%evaluate_batch', error)) return
    if (wrong('query%evaluate_batch: values(:, 1)', size(values, 1), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%evaluate_batch: out(:, 1)', size(out, 1), this%size(), error)) return
    if (wrong('query%evaluate_batch: out(1, :)', size(out, 2), n, error)) return
    if (wrong('query%evaluate_batch: inside', size(inside), n, error)) return
    record%struct_size = int(c_sizeof(record), c_int32_t)
    flags = 0
    bad = failed(c_evaluate_batch(this%handle, n, values, out, flags, workspace%handle, record), record, error)
    inside = flags /= 0
  end subroutine

  !> out(size) and jacobian(n_parameters, size): jacobian(j, i) = d out(i) / d values(j).
  subroutine query_jacobian(this, values, out, jacobian, workspace, error, verdict)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:)
    real(c_double), intent(inout), contiguous :: out(:), jacobian(:, :)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(zelos_verdict_t), intent(out), optional :: verdict
    type(c_verdict) :: found
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'query%jacobian', error)) return
    if (wrong('query%jacobian: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%jacobian: out', size(out), this%size(), error)) return
    if (wrong('query%jacobian: jacobian(:, 1)', size(jacobian, 1), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%jacobian: jacobian(1, :)', size(jacobian, 2), this%size(), error)) return
    call begin(found, record)
    bad = failed(c_jacobian(this%handle, values, out, jacobian, workspace%handle, found, record), record, error)
    call finish(found, verdict)
  end subroutine

  !> out(size) and product(size) = J direction(n_parameters).
  subroutine query_jvp(this, values, direction, out, product, workspace, error, verdict)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:), direction(:)
    real(c_double), intent(inout), contiguous :: out(:), product(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(zelos_verdict_t), intent(out), optional :: verdict
    type(c_verdict) :: found
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'query%jvp', error)) return
    if (wrong('query%jvp: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%jvp: direction', size(direction), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%jvp: out', size(out), this%size(), error)) return
    if (wrong('query%jvp: product', size(product), this%size(), error)) return
    call begin(found, record)
    bad = failed(c_jvp(this%handle, values, direction, out, product, workspace%handle, found, record), record, error)
    call finish(found, verdict)
  end subroutine

  !> out(size) and product(n_parameters) = transpose(J) cotangent(size).
  subroutine query_vjp(this, values, cotangent, out, product, workspace, error, verdict)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:), cotangent(:)
    real(c_double), intent(inout), contiguous :: out(:), product(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(zelos_verdict_t), intent(out), optional :: verdict
    type(c_verdict) :: found
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'query%vjp', error)) return
    if (wrong('query%vjp: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%vjp: cotangent', size(cotangent), this%size(), error)) return
    if (wrong('query%vjp: out', size(out), this%size(), error)) return
    if (wrong('query%vjp: product', size(product), int(this%n_parameters_, c_int64_t), error)) return
    call begin(found, record)
    bad = failed(c_vjp(this%handle, values, cotangent, out, product, workspace%handle, found, record), record, error)
    call finish(found, verdict)
  end subroutine

  !> The verdict alone: no error for a point outside.
  subroutine query_verdict(this, values, workspace, verdict, error)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_verdict_t), intent(out) :: verdict
    type(zelos_error_t), intent(out) :: error
    type(c_verdict) :: found
    type(c_error) :: record

    if (closed(this%handle, 'query%verdict', error)) return
    if (wrong('query%verdict: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    call begin(found, record)
    if (failed(c_verdict_at(this%handle, values, workspace%handle, found, record), record, error)) return
    call finish(found, verdict)
  end subroutine

  !> errors(n_requests): the predicted error of each request, NaN where none is predicted.
  subroutine query_predicted_error(this, values, errors, workspace, error)
    class(zelos_query_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:)
    real(c_double), intent(inout), contiguous :: errors(:)
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'query%predicted_error', error)) return
    if (wrong('query%predicted_error: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    if (wrong('query%predicted_error: errors', size(errors), int(this%n_requests_, c_int64_t), error)) return
    record%struct_size = int(c_sizeof(record), c_int32_t)
    bad = failed(c_predicted_error(this%handle, values, errors, workspace%handle, record), record, error)
  end subroutine

  !> A model of what the errors of the answer do to a likelihood, in place of what `model` held. covariance(n_data, n_data) of
  !> the data; without one an ideal experiment: of spectra cosmic variance; of TT, TE and EE, if all are asked for, jointly; of
  !> all else the sigma that it was whitened with; on all points of the outputs, whatever the query's axes. matrix(size, n_data):
  !> datum i is the sum over the answer of matrix(:, i)*out; without one the data are the answer. reference(n_parameters): where
  !> the answer is linearised; the middle of the region. Takes up to a second.
  subroutine query_error_model(this, model, error, covariance, matrix, reference)
    class(zelos_query_t), intent(in) :: this
    type(zelos_error_model_t), intent(inout) :: model
    type(zelos_error_t), intent(out) :: error
    real(c_double), intent(in), contiguous, optional, target :: covariance(:, :), matrix(:, :), reference(:)
    type(c_likelihood) :: likelihood
    type(c_error) :: record
    type(c_ptr) :: handle

    call model%release()
    if (closed(this%handle, 'query%error_model', error)) return
    likelihood%struct_size = int(c_sizeof(likelihood), c_int32_t)
    likelihood%n_data = this%size()
    if (present(matrix)) then
      if (.not. present(covariance)) then
        call fail(error, ZELOS_E_ARGUMENT, 'query%error_model: matrix: expected the covariance of the data as well')
        return
      end if
      likelihood%n_data = size(matrix, 2, c_int64_t)
      if (wrong('query%error_model: matrix(:, 1)', size(matrix, 1), this%size(), error)) return
      if (size(matrix) > 0) likelihood%matrix = c_loc(matrix(1, 1))
    end if
    if (present(covariance)) then
      if (wrong('query%error_model: covariance(:, 1)', size(covariance, 1), likelihood%n_data, error)) return
      if (wrong('query%error_model: covariance(1, :)', size(covariance, 2), likelihood%n_data, error)) return
      if (size(covariance) > 0) likelihood%covariance = c_loc(covariance(1, 1))
    end if
    if (present(reference)) then
      if (wrong('query%error_model: reference', size(reference), int(this%n_parameters_, c_int64_t), error)) return
      if (size(reference) > 0) likelihood%reference = c_loc(reference(1))
    end if
    handle = c_null_ptr
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_error_model_create(this%handle, likelihood, handle, record), record, error)) return
    model%handle = handle
    model%n_parameters_ = this%n_parameters_
    allocate (model%owners, source=1)
  end subroutine

  ! --- error model ---

  !> The mean of delta chi^2 at a point, and what 95 % of the errors do not exceed; also outside the region; NaN where a family
  !> predicts no error. The workspace is one of the query. ZELOS_E_OUTSIDE: a value is not finite, or has no solution.
  subroutine error_model_evaluate(this, values, mean, quantile, workspace, error)
    class(zelos_error_model_t), intent(in) :: this
    real(c_double), intent(in), contiguous :: values(:)
    real(c_double), intent(inout) :: mean, quantile
    type(zelos_workspace_t), intent(in) :: workspace
    type(zelos_error_t), intent(out) :: error
    type(c_error) :: record
    logical :: bad

    if (closed(this%handle, 'error_model%evaluate', error)) return
    if (wrong('error_model%evaluate: values', size(values), int(this%n_parameters_, c_int64_t), error)) return
    record%struct_size = int(c_sizeof(record), c_int32_t)
    bad = failed(c_error_model_evaluate(this%handle, values, mean, quantile, workspace%handle, record), record, error)
  end subroutine

  !> What the quantile was multiplied by, so that it covers 95 % of the errors at points left out of the training, and how many
  !> these are; 1 and 0 without any.
  subroutine error_model_calibration(this, factor, n_left_out)
    class(zelos_error_model_t), intent(in) :: this
    real(c_double), intent(out) :: factor
    integer(c_int64_t), intent(out) :: n_left_out

    factor = 1
    n_left_out = 0
    if (c_associated(this%handle)) call c_error_model_calibration(this%handle, factor, n_left_out)
  end subroutine

  ! --- fallback ---

  !> Opens a real code for the points outside, in place of what was held. name: a code ("camb"), or a plugin. any_version: take
  !> one that is not the training's. settings: JSON for the plugin. cache: a folder in which answers are kept.
  subroutine fallback_open(this, emulator, name, error, any_version, settings, cache)
    class(zelos_fallback_t), intent(inout) :: this
    type(zelos_emulator_t), intent(in) :: emulator
    character(len=*), intent(in) :: name
    type(zelos_error_t), intent(out) :: error
    logical, intent(in), optional :: any_version
    character(len=*), intent(in), optional :: settings, cache
    character(kind=c_char), allocatable, target :: settings_text(:), cache_text(:)
    type(c_fallback_options) :: options
    type(c_error) :: record
    type(c_ptr) :: handle

    call this%release()
    if (closed(emulator%handle, 'fallback%open', error)) return
    options%struct_size = int(c_sizeof(options), c_int32_t)
    if (present(any_version)) options%any_version = merge(1_c_int32_t, 0_c_int32_t, any_version)
    if (present(settings)) then
      allocate (settings_text, source=to_c(settings))
      options%settings_json = c_loc(settings_text)
    end if
    if (present(cache)) then
      allocate (cache_text, source=to_c(cache))
      options%cache = c_loc(cache_text)
    end if
    handle = c_null_ptr
    record%struct_size = int(c_sizeof(record), c_int32_t)
    if (failed(c_fallback_open(emulator%handle, to_c(name), options, handle, record), record, error)) return
    this%handle = handle
    allocate (this%owners, source=1)
  end subroutine

  !> code, version and what differs from the training's: empty strings if nothing is open.
  function fallback_code(this) result(text)
    class(zelos_fallback_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (c_associated(this%handle)) text = from_c(c_fallback_code(this%handle))
  end function

  function fallback_version(this) result(text)
    class(zelos_fallback_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (c_associated(this%handle)) text = from_c(c_fallback_version(this%handle))
  end function

  function fallback_differences(this) result(text)
    class(zelos_fallback_t), intent(in) :: this
    character(len=:), allocatable :: text
    text = ''
    if (c_associated(this%handle)) text = from_c(c_fallback_differences(this%handle))
  end function

  ! --- who holds what ---

  subroutine fallback_release(this)
    class(zelos_fallback_t), intent(inout) :: this
    if (last_owner(this%owners)) call c_fallback_close(this%handle)
    this%handle = c_null_ptr
  end subroutine

  subroutine fallback_share(to, from)
    class(zelos_fallback_t), intent(inout) :: to
    class(zelos_fallback_t), intent(in) :: from
    if (associated(from%owners)) from%owners = from%owners + 1
    call to%release()
    to%handle = from%handle
    to%owners => from%owners
  end subroutine

  impure elemental subroutine fallback_final(this)
    type(zelos_fallback_t), intent(inout) :: this
    call this%release()
  end subroutine

  subroutine error_model_release(this)
    class(zelos_error_model_t), intent(inout) :: this
    if (last_owner(this%owners)) call c_error_model_destroy(this%handle)
    this%handle = c_null_ptr
  end subroutine

  subroutine error_model_share(to, from)
    class(zelos_error_model_t), intent(inout) :: to
    class(zelos_error_model_t), intent(in) :: from
    if (associated(from%owners)) from%owners = from%owners + 1
    call to%release()
    to%handle = from%handle
    to%owners => from%owners
    to%n_parameters_ = from%n_parameters_
  end subroutine

  impure elemental subroutine error_model_final(this)
    type(zelos_error_model_t), intent(inout) :: this
    call this%release()
  end subroutine

  subroutine emulator_release(this)
    class(zelos_emulator_t), intent(inout) :: this
    if (last_owner(this%owners)) call c_close(this%handle)
    this%handle = c_null_ptr
  end subroutine

  subroutine query_release(this)
    class(zelos_query_t), intent(inout) :: this
    if (last_owner(this%owners)) call c_query_destroy(this%handle)
    this%handle = c_null_ptr
  end subroutine

  subroutine workspace_release(this)
    class(zelos_workspace_t), intent(inout) :: this
    if (last_owner(this%owners)) call c_workspace_destroy(this%handle)
    this%handle = c_null_ptr
  end subroutine

  subroutine emulator_share(to, from)
    class(zelos_emulator_t), intent(inout) :: to
    class(zelos_emulator_t), intent(in) :: from
    if (associated(from%owners)) from%owners = from%owners + 1
    call to%release()
    to%handle = from%handle
    to%owners => from%owners
  end subroutine

  subroutine query_share(to, from)
    class(zelos_query_t), intent(inout) :: to
    class(zelos_query_t), intent(in) :: from
    if (associated(from%owners)) from%owners = from%owners + 1
    call to%release()
    to%handle = from%handle
    to%owners => from%owners
    to%n_parameters_ = from%n_parameters_
    to%n_requests_ = from%n_requests_
  end subroutine

  subroutine workspace_share(to, from)
    class(zelos_workspace_t), intent(inout) :: to
    class(zelos_workspace_t), intent(in) :: from
    if (associated(from%owners)) from%owners = from%owners + 1
    call to%release()
    to%handle = from%handle
    to%owners => from%owners
  end subroutine

  impure elemental subroutine emulator_final(this)
    type(zelos_emulator_t), intent(inout) :: this
    call this%release()
  end subroutine

  impure elemental subroutine query_final(this)
    type(zelos_query_t), intent(inout) :: this
    call this%release()
  end subroutine

  impure elemental subroutine workspace_final(this)
    type(zelos_workspace_t), intent(inout) :: this
    call this%release()
  end subroutine

  !> Gives up one share; true if it was the last.
  logical function last_owner(owners)
    integer, pointer, intent(inout) :: owners
    last_owner = .false.
    if (.not. associated(owners)) return
    owners = owners - 1
    last_owner = owners == 0
    if (last_owner) deallocate (owners)
    nullify (owners)
  end function

  ! --- between C and Fortran ---

  subroutine fail(error, status, message)
    type(zelos_error_t), intent(inout) :: error
    integer(c_int), intent(in) :: status
    character(len=*), intent(in) :: message
    error%status = status
    error%message = message
  end subroutine

  logical function failed(status, record, error)
    integer(c_int), intent(in) :: status
    type(c_error), intent(in) :: record
    type(zelos_error_t), intent(out) :: error
    failed = status /= ZELOS_OK
    if (failed) call fail(error, status, until_null(record%message))
  end function

  logical function closed(handle, what, error)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: what
    type(zelos_error_t), intent(out) :: error
    closed = .not. c_associated(handle)
    if (closed) call fail(error, ZELOS_E_ARGUMENT, what//': nothing is held: open or query first')
  end function

  logical function wrong(what, found, expected, error)
    character(len=*), intent(in) :: what
    integer, intent(in) :: found
    integer(c_int64_t), intent(in) :: expected
    type(zelos_error_t), intent(inout) :: error
    character(len=120) :: text
    wrong = found /= expected
    if (.not. wrong) return
    write (text, '(a,a,i0,a,i0)') what, ': expected size ', expected, ', found ', found
    call fail(error, ZELOS_E_ARGUMENT, trim(text))
  end function

  subroutine begin(verdict, record)
    type(c_verdict), intent(out) :: verdict
    type(c_error), intent(out) :: record
    verdict%struct_size = int(c_sizeof(verdict), c_int32_t)
    record%struct_size = int(c_sizeof(record), c_int32_t)
  end subroutine

  subroutine finish(found, verdict)
    type(c_verdict), intent(in) :: found
    type(zelos_verdict_t), intent(inout), optional :: verdict
    if (.not. present(verdict)) return
    verdict%reason = found%reason
    if (found%reason == ZELOS_INSIDE) return
    verdict%parameter = until_null(found%parameter)
    verdict%message = until_null(found%message)
    verdict%value = found%value
    verdict%lower = found%lower
    verdict%upper = found%upper
    verdict%excess = found%excess
  end subroutine

end module
