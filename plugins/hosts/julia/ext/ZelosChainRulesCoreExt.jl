# SPDX-License-Identifier: BSD-3-Clause
"""
Derivatives of a query for whatever reads ChainRulesCore (Zygote, Diffractor, ...): exact, by libzelos.
Loaded by itself in Julia 1.9 and later where both packages are loaded.
"""
module ZelosChainRulesCoreExt

using ChainRulesCore, Zelos

function ChainRulesCore.rrule(query::Zelos.Query, x::AbstractVector{<:Real})
    y = query(x)
    pullback(cotangent) = (NoTangent(), last(Zelos.vjp(query, x, collect(unthunk(cotangent)))))
    y, pullback
end

ChainRulesCore.frule((_, direction), query::Zelos.Query, x::AbstractVector{<:Real}) = Zelos.jvp(query, x, direction)

end
