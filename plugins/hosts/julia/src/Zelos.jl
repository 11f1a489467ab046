# SPDX-License-Identifier: BSD-3-Clause
"""
Emulators of physics codes: `zelos.h` for Julia.

    emulator = get_emulator("CAMB_lcdm.h5")
    query = Query(emulator, ["ombh2", "omch2", "H0", "tau", "logA", "ns"],
                  ["Cl.tt" => [2:2500], "Pk.linear" => [k, z], "derived" => []])
    y = query([0.0224, 0.12, 67.4, 0.054, 3.045, 0.965])
    tt, pk = block(query, y, 1), block(query, y, 2)

libzelos is looked for at `ENV["ZELOS_LIBRARY"]`, else as `libzelos` where the loader looks. Units are those of the artifact.
A query may be used from many threads: each evaluation has a workspace of its own thread. Julia's arrays are column-major: a
block with axes (k, z) is `[z, k]`, a batch has one point in each column.
"""
module Zelos

using Libdl

export Emulator, ErrorModel, Fallback, Query, answer, Verdict, ZelosError, OutsideRegion, block, blocks, calibration, derived, get_emulator, info_json, jvp,
    outputs, parameters, predicted_error, value_and_jacobian, verdict, vjp

const ABI_MAJOR = 1

const OK, E_ARGUMENT, E_OUTSIDE = 0, 1, 2

const REASONS = (:inside, :not_finite, :fixed_parameter, :box, :hull, :error_bound, :no_solution)

struct CError
    struct_size::UInt32
    code::Int32
    message::NTuple{1016,UInt8}
end

struct CVerdict
    struct_size::UInt32
    reason::Cint
    parameter::NTuple{64,UInt8}
    value::Cdouble
    lower::Cdouble
    upper::Cdouble
    excess::Cdouble
    message::NTuple{376,UInt8}
end

struct CRequest
    struct_size::UInt32
    output::Ptr{UInt8}
    axis_sizes::Ptr{Int64}
    axis_values::Ptr{Ptr{Cdouble}}
end

struct CFallbackOptions
    struct_size::UInt32
    any_version::Int32
    settings_json::Ptr{UInt8}
    cache::Ptr{UInt8}
end

struct CLikelihood
    struct_size::UInt32
    n_data::Int64
    covariance::Ptr{Cdouble}
    matrix::Ptr{Cdouble}
    reference::Ptr{Cdouble}
end

struct CParameterInfo
    struct_size::UInt32
    name::Ptr{UInt8}
    unit::Ptr{UInt8}
    latex::Ptr{UInt8}
    min::Cdouble
    max::Cdouble
    n_synonyms::Int32
    synonyms::Ptr{Ptr{UInt8}}
end

struct COutputInfo
    struct_size::UInt32
    name::Ptr{UInt8}
    unit::Ptr{UInt8}
    family::Ptr{UInt8}
    n_axes::Int32
    shape::NTuple{4,Int64}
end

struct CAxisInfo
    struct_size::UInt32
    name::Ptr{UInt8}
    unit::Ptr{UInt8}
    size::Int64
    values::Ptr{Cdouble}
    labels::Ptr{Ptr{UInt8}}
end

const SYMBOLS = (
    :zelos_version, :zelos_abi_version, :zelos_emulator_open, :zelos_emulator_close, :zelos_emulator_name,
    :zelos_emulator_version, :zelos_emulator_id, :zelos_emulator_info_json, :zelos_emulator_n_parameters,
    :zelos_emulator_parameter, :zelos_emulator_n_outputs, :zelos_emulator_output, :zelos_emulator_axis,
    :zelos_query_create, :zelos_query_destroy, :zelos_query_size, :zelos_query_block, :zelos_workspace_create,
    :zelos_workspace_destroy, :zelos_evaluate, :zelos_evaluate_batch, :zelos_jacobian, :zelos_jvp, :zelos_vjp,
    :zelos_verdict_at, :zelos_predicted_error, :zelos_fallback_open, :zelos_fallback_close, :zelos_fallback_code,
    :zelos_fallback_version, :zelos_fallback_differences, :zelos_answer, :zelos_error_model_create, :zelos_error_model_destroy,
    :zelos_error_model_evaluate, :zelos_error_model_calibration,
)
const FUNCTIONS = Dict{Symbol,Ptr{Cvoid}}()

function __init__()
    library = get(ENV, "ZELOS_LIBRARY", "libzelos")
    handle = Libdl.dlopen_e(library)
    handle == C_NULL && error("Zelos: can not load '$library': set ENV[\"ZELOS_LIBRARY\"] to the path of libzelos.so")
    for symbol in SYMBOLS
        FUNCTIONS[symbol] = Libdl.dlsym(handle, symbol)
    end
    major, minor = Ref{UInt32}(0), Ref{UInt32}(0)
    ccall(FUNCTIONS[:zelos_abi_version], Cvoid, (Ptr{UInt32}, Ptr{UInt32}), major, minor)
    major[] == ABI_MAJOR || error("Zelos: '$library' has ABI $(major[]), expected $ABI_MAJOR")
end

"A status of libzelos other than ok, and its message."
struct ZelosError <: Exception
    status::Int
    message::String
end
Base.showerror(io::IO, error::ZelosError) = print(io, "zelos: ", error.message)

"Where a point lies, and why. `reason` is one of $(join(REASONS, ", "))."
struct Verdict
    reason::Symbol
    parameter::String
    value::Float64
    lower::Float64
    upper::Float64
    excess::Float64
    message::String
end
Base.show(io::IO, verdict::Verdict) = print(io, verdict.reason == :inside ? "inside" : verdict.message)

"A point is outside the region: nothing was computed."
struct OutsideRegion <: Exception
    verdict::Verdict
end
Base.showerror(io::IO, error::OutsideRegion) = print(io, "zelos: outside: ", error.verdict.message)

text(bytes::NTuple{N,UInt8}) where {N} = String(collect(Iterators.takewhile(byte -> byte != 0, bytes)))
text(pointer::Ptr{UInt8}) = pointer == C_NULL ? "" : unsafe_string(pointer)

new_error() = Ref(CError(sizeof(CError), 0, ntuple(_ -> 0x00, 1016)))
new_verdict() = Ref(CVerdict(sizeof(CVerdict), 0, ntuple(_ -> 0x00, 64), 0, 0, 0, 0, ntuple(_ -> 0x00, 376)))

function Verdict(found::CVerdict)
    Verdict(REASONS[found.reason+1], text(found.parameter), found.value, found.lower, found.upper, found.excess,
        text(found.message))
end

function check(status::Integer, error::Ref{CError}, found::Union{Nothing,Ref{CVerdict}} = nothing)
    status == OK && return
    status == E_OUTSIDE && found !== nothing && throw(OutsideRegion(Verdict(found[])))
    throw(ZelosError(status, text(error[].message)))
end

"An opened artifact; immutable. Made by `get_emulator`."
mutable struct Emulator
    handle::Ptr{Cvoid}
    function Emulator(path::AbstractString)
        handle, error = Ref{Ptr{Cvoid}}(C_NULL), new_error()
        status = ccall(FUNCTIONS[:zelos_emulator_open], Cint, (Cstring, Ptr{Cvoid}, Ptr{Ptr{Cvoid}}, Ptr{CError}),
            path, C_NULL, handle, error)
        check(status, error)
        emulator = new(handle[])
        finalizer(emulator) do e
            ccall(FUNCTIONS[:zelos_emulator_close], Cvoid, (Ptr{Cvoid},), e.handle)
        end
    end
end

"Opens NAME.h5. Throws ZelosError."
get_emulator(path::AbstractString) = Emulator(path)

for (function_name, symbol) in (
    (:(Base.nameof), :zelos_emulator_name), (:version, :zelos_emulator_version), (:id, :zelos_emulator_id),
    (:info_json, :zelos_emulator_info_json),
)
    @eval function $function_name(emulator::Emulator)
        GC.@preserve emulator text(ccall(FUNCTIONS[$(QuoteNode(symbol))], Ptr{UInt8}, (Ptr{Cvoid},), emulator.handle))
    end
end

"Names and ranges of the inputs, in canonical order: `name => (min, max)`."
function parameters(emulator::Emulator)
    GC.@preserve emulator begin
        n = ccall(FUNCTIONS[:zelos_emulator_n_parameters], Int32, (Ptr{Cvoid},), emulator.handle)
        map(0:n-1) do i
            info, error = Ref(CParameterInfo(sizeof(CParameterInfo), C_NULL, C_NULL, C_NULL, 0, 0, 0, C_NULL)), new_error()
            status = ccall(FUNCTIONS[:zelos_emulator_parameter], Cint,
                (Ptr{Cvoid}, Int32, Ptr{CParameterInfo}, Ptr{CError}), emulator.handle, i, info, error)
            check(status, error)
            text(info[].name) => (info[].min, info[].max)
        end
    end
end

"Output => its axes: `name => values`, or `name => labels`."
function outputs(emulator::Emulator)
    GC.@preserve emulator begin
        n = ccall(FUNCTIONS[:zelos_emulator_n_outputs], Int32, (Ptr{Cvoid},), emulator.handle)
        Dict(map(0:n-1) do i
            info, error = Ref(COutputInfo(sizeof(COutputInfo), C_NULL, C_NULL, C_NULL, 0, (0, 0, 0, 0))), new_error()
            status = ccall(FUNCTIONS[:zelos_emulator_output], Cint,
                (Ptr{Cvoid}, Int32, Ptr{COutputInfo}, Ptr{CError}), emulator.handle, i, info, error)
            check(status, error)
            text(info[].name) => [axis(emulator, i, a) for a in 0:info[].n_axes-1]
        end)
    end
end

function axis(emulator::Emulator, output::Integer, index::Integer)
    info, error = Ref(CAxisInfo(sizeof(CAxisInfo), C_NULL, C_NULL, 0, C_NULL, C_NULL)), new_error()
    status = ccall(FUNCTIONS[:zelos_emulator_axis], Cint,
        (Ptr{Cvoid}, Int32, Int32, Ptr{CAxisInfo}, Ptr{CError}), emulator.handle, output, index, info, error)
    check(status, error)
    name, n = text(info[].name), info[].size
    info[].labels == C_NULL && return name => copy(unsafe_wrap(Array, info[].values, n))
    name => [text(unsafe_load(info[].labels, i)) for i in 1:n]
end

"""
    Query(emulator, names, requests)

A bound question. names: of the parameters that points will have, in that order; synonyms and what the emulator holds fixed
may be among them. requests: `output => [axis, ...]` with ascending points inside the native range; axes that are not given, or `[]`, are native.
"""
mutable struct Query
    handle::Ptr{Cvoid}
    n_parameters::Int
    size::Int
    n_requests::Int
    shapes::Vector{Vector{Int}}
    workspaces::Vector{Ptr{Cvoid}}
    function Query(emulator::Emulator, names, requests)
        names = String.(collect(names))
        given = [String(output) => [Float64.(collect(axis)) for axis in axes] for (output, axes) in requests]
        shapes = native_shapes(emulator, given)
        # zelos.h reads a size for every axis of the output: 0 for one that is not given.
        wanted = [output => isempty(axes) ? axes : [axes; fill(Float64[], length(shape) - length(axes))]
                  for ((output, axes), shape) in zip(given, shapes)]
        sizes = [Int64[length(axis) for axis in axes] for (_, axes) in wanted]
        values = [Ptr{Cdouble}[pointer(axis) for axis in axes] for (_, axes) in wanted]
        handle, error = Ref{Ptr{Cvoid}}(C_NULL), new_error()
        GC.@preserve emulator names wanted sizes values begin
            list = [
                CRequest(sizeof(CRequest), pointer(output), isempty(axes) ? C_NULL : pointer(sizes[i]),
                    isempty(axes) ? C_NULL : pointer(values[i])) for (i, (output, axes)) in enumerate(wanted)
            ]
            status = ccall(FUNCTIONS[:zelos_query_create], Cint,
                (Ptr{Cvoid}, Int32, Ptr{Ptr{UInt8}}, Int32, Ptr{CRequest}, Ptr{Ptr{Cvoid}}, Ptr{CError}),
                emulator.handle, length(names), [pointer(name) for name in names], length(list), list, handle, error)
        end
        check(status, error)
        n = ccall(FUNCTIONS[:zelos_query_size], Int64, (Ptr{Cvoid},), handle[])
        query = new(handle[], length(names), n, length(wanted), shapes, fill(C_NULL, Threads.nthreads()))
        finalizer(query) do q
            for workspace in q.workspaces
                ccall(FUNCTIONS[:zelos_workspace_destroy], Cvoid, (Ptr{Cvoid},), workspace)
            end
            ccall(FUNCTIONS[:zelos_query_destroy], Cvoid, (Ptr{Cvoid},), q.handle)
        end
    end
end

function native_shapes(emulator::Emulator, wanted)
    known = outputs(emulator)
    map(wanted) do (output, axes)
        native = get(known, output, nothing)
        # zelos.h says which outputs there are.
        native === nothing && return [length(axis) for axis in axes]
        length(axes) <= length(native) ||
            throw(ZelosError(E_ARGUMENT, "output '$output' has $(length(native)) axes, found $(length(axes))"))
        [i <= length(axes) && !isempty(axes[i]) ? length(axes[i]) : length(last(native[i])) for i in 1:length(native)]
    end
end

"The workspace of this thread, made when it is first asked for."
function workspace(query::Query)
    thread = Threads.threadid()
    thread <= length(query.workspaces) ||
        throw(ZelosError(E_ARGUMENT, "thread $thread began after the query was made: make another query"))
    if query.workspaces[thread] == C_NULL
        made, error = Ref{Ptr{Cvoid}}(C_NULL), new_error()
        status = ccall(FUNCTIONS[:zelos_workspace_create], Cint, (Ptr{Cvoid}, Ptr{Ptr{Cvoid}}, Ptr{CError}),
            query.handle, made, error)
        check(status, error)
        query.workspaces[thread] = made[]
    end
    query.workspaces[thread]
end

function point(query::Query, x::AbstractVector{<:Real})
    length(x) == query.n_parameters ||
        throw(DimensionMismatch("expected $(query.n_parameters) parameters, found $(length(x))"))
    convert(Vector{Float64}, x)
end

"Index range of the answer to each request."
function blocks(query::Query)
    map(0:query.n_requests-1) do i
        offset, n, error = Ref{Int64}(0), Ref{Int64}(0), new_error()
        status = GC.@preserve query ccall(FUNCTIONS[:zelos_query_block], Cint,
            (Ptr{Cvoid}, Int32, Ptr{Int64}, Ptr{Int64}, Ptr{CError}), query.handle, i, offset, n, error)
        check(status, error)
        offset[]+1:offset[]+n[]
    end
end

"The answer to one request as an array, with the axes of the output in reverse order."
block(query::Query, y::AbstractVector, i::Integer) = reshape(view(y, blocks(query)[i]), reverse(query.shapes[i])...)

"The answer at a point. Throws OutsideRegion, ZelosError."
function (query::Query)(x::AbstractVector{<:Real})
    values, y = point(query, x), Vector{Float64}(undef, query.size)
    error, found = new_error(), new_verdict()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_evaluate], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{CError}),
        query.handle, values, y, workspace(query), found, error)
    check(status, error, found)
    y
end

"""
    Fallback(emulator, name; any_version=false, settings="{}", cache=nothing)

The real code for points outside: a code ("camb") or a plugin, held against the training's version and settings unless
any_version. settings: JSON for the plugin. cache: a folder in which answers are kept. See `answer`.
"""
mutable struct Fallback
    handle::Ptr{Cvoid}
    function Fallback(emulator::Emulator, name::AbstractString; any_version::Bool = false,
        settings::AbstractString = "{}", cache::Union{Nothing,AbstractString} = nothing)
        handle, error = Ref{Ptr{Cvoid}}(C_NULL), new_error()
        json, folder = String(settings), cache === nothing ? "" : String(cache)
        status = GC.@preserve emulator json folder begin
            options = Ref(CFallbackOptions(sizeof(CFallbackOptions), any_version, pointer(json),
                cache === nothing ? C_NULL : pointer(folder)))
            ccall(FUNCTIONS[:zelos_fallback_open], Cint,
                (Ptr{Cvoid}, Cstring, Ptr{CFallbackOptions}, Ptr{Ptr{Cvoid}}, Ptr{CError}),
                emulator.handle, name, options, handle, error)
        end
        check(status, error)
        fallback = new(handle[])
        finalizer(fallback) do f
            ccall(FUNCTIONS[:zelos_fallback_close], Cvoid, (Ptr{Cvoid},), f.handle)
        end
    end
end

for (function_name, symbol) in (
    (:code, :zelos_fallback_code), (:version, :zelos_fallback_version), (:differences, :zelos_fallback_differences),
)
    @eval function $function_name(fallback::Fallback)
        GC.@preserve fallback text(ccall(FUNCTIONS[$(QuoteNode(symbol))], Ptr{UInt8}, (Ptr{Cvoid},), fallback.handle))
    end
end

const SOURCES = (:nobody, :emulator, :fallback)

"The answer at a point, the fallback's outside the region, and who gave it: `:emulator` or `:fallback`."
function answer(query::Query, fallback::Fallback, x::AbstractVector{<:Real})
    values, y = point(query, x), Vector{Float64}(undef, query.size)
    error, found, source = new_error(), new_verdict(), Ref{Cint}(0)
    status = GC.@preserve query fallback ccall(FUNCTIONS[:zelos_answer], Cint,
        (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{Cint}, Ptr{CError}),
        query.handle, fallback.handle, values, y, workspace(query), found, source, error)
    check(status, error, found)
    y, SOURCES[source[]+1]
end

"A batch, one point in each column: `(answers, inside)`; the columns of points outside are NaN."
function (query::Query)(X::AbstractMatrix{<:Real})
    size(X, 1) == query.n_parameters ||
        throw(DimensionMismatch("expected $(query.n_parameters) parameters, found $(size(X, 1))"))
    values, n = convert(Matrix{Float64}, X), size(X, 2)
    y, inside, error = fill(NaN, query.size, n), zeros(Int32, n), new_error()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_evaluate_batch], Cint,
        (Ptr{Cvoid}, Int64, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Int32}, Ptr{Cvoid}, Ptr{CError}),
        query.handle, n, values, y, inside, workspace(query), error)
    check(status, error)
    y, inside .!= 0
end

"The answer and its exact derivatives, `J[i, j] = dy[i] / dx[j]`."
function value_and_jacobian(query::Query, x::AbstractVector{<:Real})
    values, y = point(query, x), Vector{Float64}(undef, query.size)
    J = Matrix{Float64}(undef, query.n_parameters, query.size)
    error, found = new_error(), new_verdict()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_jacobian], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{CError}),
        query.handle, values, y, J, workspace(query), found, error)
    check(status, error, found)
    y, permutedims(J)
end

"The answer and J * direction."
function jvp(query::Query, x::AbstractVector{<:Real}, direction::AbstractVector{<:Real})
    values, along = point(query, x), point(query, direction)
    y, product = Vector{Float64}(undef, query.size), Vector{Float64}(undef, query.size)
    error, found = new_error(), new_verdict()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_jvp], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{CError}),
        query.handle, values, along, y, product, workspace(query), found, error)
    check(status, error, found)
    y, product
end

"The answer and J' * cotangent: the gradient of `dot(cotangent, query(x))`."
function vjp(query::Query, x::AbstractVector{<:Real}, cotangent::AbstractVector{<:Real})
    length(cotangent) == query.size ||
        throw(DimensionMismatch("expected a cotangent of length $(query.size), found $(length(cotangent))"))
    values, weights = point(query, x), convert(Vector{Float64}, cotangent)
    y, product = Vector{Float64}(undef, query.size), Vector{Float64}(undef, query.n_parameters)
    error, found = new_error(), new_verdict()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_vjp], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{CError}),
        query.handle, values, weights, y, product, workspace(query), found, error)
    check(status, error, found)
    y, product
end

"The verdict alone: nothing is thrown for a point outside."
function verdict(query::Query, x::AbstractVector{<:Real})
    values, error, found = point(query, x), new_error(), new_verdict()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_verdict_at], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CVerdict}, Ptr{CError}),
        query.handle, values, workspace(query), found, error)
    check(status, error)
    Verdict(found[])
end

"Predicted error of each request; NaN where none is predicted."
function predicted_error(query::Query, x::AbstractVector{<:Real})
    values, errors, error = point(query, x), Vector{Float64}(undef, query.n_requests), new_error()
    status = GC.@preserve query ccall(FUNCTIONS[:zelos_predicted_error], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CError}),
        query.handle, values, errors, workspace(query), error)
    check(status, error)
    errors
end

"""
    ErrorModel(query; covariance=nothing, matrix=nothing, reference=nothing)

What the errors of a query's answer do to a likelihood: `model(x)` is the mean of delta chi^2 and what 95 % of the errors do not
exceed; also outside the region; NaN where a family predicts no error. covariance: of the data, n x n. Without one an ideal
experiment: of spectra cosmic variance; of TT, TE and EE, if all are asked for, jointly; of all else the sigma that it was
whitened with; on all points of the outputs, whatever the query's axes. matrix, n x size: the data are `matrix * query(x)`; without one they
are the answer. reference: the point at which the answer is linearised; the middle of the region. Takes up to a second to make.
"""
mutable struct ErrorModel
    handle::Ptr{Cvoid}
    query::Query
    function ErrorModel(query::Query; covariance::Union{Nothing,AbstractMatrix{<:Real}} = nothing,
        matrix::Union{Nothing,AbstractMatrix{<:Real}} = nothing, reference::Union{Nothing,AbstractVector{<:Real}} = nothing)
        matrix !== nothing && covariance === nothing &&
            throw(ZelosError(E_ARGUMENT, "matrix: expected the covariance of the data as well"))
        n = matrix === nothing ? query.size : size(matrix, 1)
        matrix === nothing || size(matrix, 2) == query.size ||
            throw(DimensionMismatch("matrix: expected $(query.size) columns, found $(size(matrix, 2))"))
        covariance === nothing || size(covariance) == (n, n) ||
            throw(DimensionMismatch("covariance: expected $n x $n, found $(size(covariance))"))
        # zelos.h has rows one after the other.
        rows(table) = table === nothing ? Float64[] : vec(convert(Matrix{Float64}, permutedims(table)))
        C, A, x = rows(covariance), rows(matrix), reference === nothing ? Float64[] : point(query, reference)
        handle, error = Ref{Ptr{Cvoid}}(C_NULL), new_error()
        at(values) = isempty(values) ? Ptr{Cdouble}(C_NULL) : pointer(values)
        status = GC.@preserve query C A x begin
            likelihood = Ref(CLikelihood(sizeof(CLikelihood), n, at(C), at(A), at(x)))
            ccall(FUNCTIONS[:zelos_error_model_create], Cint,
                (Ptr{Cvoid}, Ptr{CLikelihood}, Ptr{Ptr{Cvoid}}, Ptr{CError}), query.handle, likelihood, handle, error)
        end
        check(status, error)
        model = new(handle[], query)
        finalizer(model) do m
            ccall(FUNCTIONS[:zelos_error_model_destroy], Cvoid, (Ptr{Cvoid},), m.handle)
        end
    end
end

function (model::ErrorModel)(x::AbstractVector{<:Real})
    values, mean, quantile, error = point(model.query, x), Ref(NaN), Ref(NaN), new_error()
    status = GC.@preserve model ccall(FUNCTIONS[:zelos_error_model_evaluate], Cint,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cvoid}, Ptr{CError}),
        model.handle, values, mean, quantile, workspace(model.query), error)
    check(status, error)
    mean[], quantile[]
end

"What the quantile was multiplied by, so that it covers 95 % of the errors at points left out of the training, and how many."
function calibration(model::ErrorModel)
    factor, n_left_out = Ref(1.0), Ref{Int64}(0)
    GC.@preserve model ccall(FUNCTIONS[:zelos_error_model_calibration], Cvoid,
        (Ptr{Cvoid}, Ptr{Cdouble}, Ptr{Int64}), model.handle, factor, n_left_out)
    factor[], n_left_out[]
end

"Derived parameters at a point: name => value. `names` are those of the point's numbers."
function derived(emulator::Emulator, names, x::AbstractVector{<:Real})
    labels = last(first(outputs(emulator)["derived"]))
    Dict(zip(labels, Query(emulator, names, ["derived" => []])(x)))
end

end
