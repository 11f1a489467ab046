# SPDX-License-Identifier: BSD-3-Clause
# compare.jl ARTIFACT FOLDER: the points of answers.cpp through Zelos.jl. Prints the greatest relative difference.
using Zelos

emulator = get_emulator(ARGS[1])
ell, k, z, z_background = 2:2500, (1:64) ./ 64, [0, 0.5, 1, 2], [0, 0.125, 0.5, 1, 2.5]
requests = vcat(
    ["Cl.$name" => [ell] for name in ("tt", "te", "ee", "bb", "pp")],
    ["Pk.$name" => [k, z] for name in ("linear", "nonlinear")],
    [name => [z_background] for name in ("Hubble", "comoving_radial_distance", "angular_diameter_distance")],
    [name => [z] for name in ("sigma8_z", "fsigma8")],
    ["derived" => []],
)
query = Query(emulator, ["ombh2", "omch2", "H0", "tau", "logA", "ns"], requests)
points = Matrix{Float64}(undef, 6, 20)
expected = Matrix{Float64}(undef, query.size, 20)
read!(joinpath(ARGS[2], "points.bin"), points)
read!(joinpath(ARGS[2], "answers.bin"), expected)
answers, inside = query(points)
@assert all(inside)
println(maximum(abs.(answers .- expected) ./ ifelse.(expected .== 0, 1.0, abs.(expected))))

# errors.bin, by the Python package and per point: mean and quantile of the ideal TT, TE, EE, then of data in three bins of TT.
errors = Matrix{Float64}(undef, 4, 20)
read!(joinpath(ARGS[2], "errors.bin"), errors)
NAMES = ["ombh2", "omch2", "H0", "tau", "logA", "ns"]
ideal = ErrorModel(Query(emulator, NAMES, ["Cl.$name" => [] for name in ("tt", "te", "ee")]))
windows = zeros(3, 300)
windows[1, 1:50] .= 1 / 50
windows[2, 51:150] .= 1 / 100
windows[3, 151:300] .= 1 / 150
covariance = 1e-4 * [4 1 0.5; 1 2 0.25; 0.5 0.25 1]
binned = ErrorModel(Query(emulator, NAMES, ["Cl.tt" => [2:301]]); covariance = covariance, matrix = windows,
    reference = points[:, 1])
found = [value for i in 1:20 for model in (ideal, binned) for value in model(points[:, i])]
@assert isapprox(reshape(found, 4, 20), errors, rtol = 1e-9)
