# SPDX-License-Identifier: BSD-3-Clause
# julia --project=. test/runtests.jl ARTIFACT.h5 PLUGIN.so, a fallback whose every number is 1
using LinearAlgebra, Test, Zelos

# The extension without ChainRulesCore: what it uses of it, defined here. Zelos is found in the module around.
module ChainRulesCore
export NoTangent, unthunk
struct NoTangent end
unthunk(x) = x
function rrule end
function frule end
end
text = read(joinpath(@__DIR__, "..", "ext", "ZelosChainRulesCoreExt.jl"), String)
include_string(Main, replace(text, "using ChainRulesCore, Zelos" => "using ..ChainRulesCore, Zelos"))

const NAMES = ["ombh2", "omch2", "H0", "tau", "logA", "ns"]
const X = [0.0224, 0.12, 67.4, 0.054, 3.045, 0.965]

emulator = get_emulator(ARGS[1])
query = Query(emulator, NAMES, ["Cl.tt" => [[2, 30, 800]], "Pk.linear" => [[0.01, 0.1], [0.0, 0.5, 1.0]], "derived" => []])

@testset "zelos" begin
    y = query(X)
    @test length(Zelos.id(emulator)) == 64 && occursin(nameof(emulator), info_json(emulator))
    @test first.(parameters(emulator)) == NAMES
    @test all(low < x < high for (x, (_, (low, high))) in zip(X, parameters(emulator)))
    @test first(outputs(emulator)["Cl.tt"][1]) == "ell"
    pk = block(query, y, 2)
    @test size(pk) == (3, 2) && pk[1, 1] > pk[2, 1] > pk[3, 1] && pk[1, 1] > pk[1, 2]
    some = Query(emulator, NAMES, ["Pk.linear" => [[0.01, 0.1]], "derived" => []])
    at_native_z = block(some, some(X), 1)
    @test size(at_native_z) == (length(last(outputs(emulator)["Pk.linear"][2])), 2) && at_native_z[1, :] ≈ pk[1, :]
    @test_throws ZelosError Query(emulator, NAMES, ["Cl.tt" => [[2, 30], [0.0]]])
    @test derived(emulator, NAMES, X)["sigma8"] ≈ 0.811 rtol = 1e-2

    value, J = value_and_jacobian(query, X)
    @test value == y && size(J) == (length(y), 6)
    for j in 1:6
        step = zeros(6)
        step[j] = 1e-4 * X[j]
        slope = (query(X + step) - query(X - step)) / 2e-4X[j]
        @test norm(slope[1:9] - J[1:9, j]) < 1e-3 * norm(J[1:9, j]) + 1e-8 * norm(y[1:9]) / X[j]
    end
    direction, cotangent = [1e-4, -1e-3, 0.5, 0.001, 0.01, -0.01], cos.(1:length(y))
    @test last(jvp(query, X, direction)) ≈ J * direction
    @test last(vjp(query, X, cotangent)) ≈ J' * cotangent

    y2, pullback = ChainRulesCore.rrule(query, X)
    @test y2 == y && last(pullback(cotangent)) ≈ J' * cotangent && first(pullback(cotangent)) isa ChainRulesCore.NoTangent
    y3, product = ChainRulesCore.frule((ChainRulesCore.NoTangent(), direction), query, X)
    @test y3 == y && product ≈ J * direction

    outside = copy(X)
    outside[3] = 500
    @test verdict(query, X).reason == :inside && verdict(query, outside).parameter == "H0"
    @test_throws OutsideRegion query(outside)
    batch, inside = query([X outside X])
    @test inside == [true, false, true] && batch[:, 1] == y == batch[:, 3] && all(isnan, batch[:, 2])
    @test length(predicted_error(query, X)) == 3
    model = ErrorModel(Query(emulator, NAMES, ["Cl.tt" => []]))
    mean, quantile = model(X)
    @test 0 < mean < quantile && first(calibration(model)) > 0 && last(calibration(model)) >= 0
    @test all(isfinite, model(outside)) # also outside
    @test_throws ZelosError ErrorModel(query, matrix = zeros(2, length(y)))
    @test_throws DimensionMismatch ErrorModel(query, covariance = zeros(2, 2), matrix = zeros(2, 3))
    @test_throws DimensionMismatch ErrorModel(query, covariance = zeros(2, 2))
    @test_throws ZelosError ErrorModel(query, covariance = -ones(1, 1), matrix = ones(1, length(y)))

    @test_throws ZelosError Fallback(emulator, ARGS[2])
    fallback = Fallback(emulator, ARGS[2], any_version = true)
    @test Zelos.code(fallback) == "camb" && occursin("0.0.1", Zelos.differences(fallback))
    @test answer(query, fallback, X) == (y, :emulator)
    smoky = copy(X)
    smoky[4] = 0.3
    @test answer(query, fallback, smoky) == (ones(length(y)), :fallback)

    @test_throws ZelosError get_emulator("/no/such/file.h5")
    @test occursin("/no/such/file.h5", try get_emulator("/no/such/file.h5") catch e sprint(showerror, e) end)
    @test_throws ZelosError Query(emulator, ["ombh2"], ["Cl.tt" => []])
    @test_throws ZelosError Query(emulator, NAMES, ["Cl.xx" => []])
    @test_throws DimensionMismatch query([1.0])
    @test_throws DimensionMismatch vjp(query, X, [1.0])
    # What is no longer used is released, and nothing else.
    for _ in 1:20
        Query(get_emulator(ARGS[1]), NAMES, ["derived" => []])(X)
    end
    GC.gc()
    @test query(X) == y
end
