"""Inputs of a traced function that nothing reads, however its code is nested.

The inputs that each value depends on are followed through the equations, and through the functions
within them. JAX's own `dce_jaxpr` would keep what a loop only passes along. The entries of an array
are not told apart: what is stacked with what is read counts as read.
"""


def unread(jaxpr, outputs):
    """For each input of a jaxpr, whether none of its first `outputs` outputs depends on it."""
    inputs = range(len(_open(jaxpr).invars))
    found = _through(jaxpr, [frozenset([n]) for n in inputs])
    return [not any(n in needs for needs in found[:outputs]) for n in inputs]


def _through(jaxpr, given):
    """The inputs that each output depends on, from those that each argument does: sets of numbers."""
    jaxpr, nothing = _open(jaxpr), frozenset()
    known = dict(
        zip(map(id, jaxpr.invars), given, strict=True)
    )  # literals are not in it
    for equation in jaxpr.eqns:
        own = [known.get(id(var), nothing) for var in equation.invars]
        refs = [var for var in equation.invars if hasattr(var.aval, "inner_aval")]
        rule = _every if refs else _rule(equation)
        outputs = [*map(id, equation.outvars)]
        try:
            known |= zip(outputs, rule(equation, own), strict=True)
        except (LookupError, ValueError):  # a version of JAX that writes it otherwise
            known |= zip(outputs, _every(equation, own))
        known |= {id(ref): nothing.union(*own) for ref in refs}  # it may be written to
    return [known.get(id(var), nothing) for var in jaxpr.outvars]


def _open(jaxpr):
    return getattr(jaxpr, "jaxpr", jaxpr)


def _rule(equation):
    is_call = "call_jaxpr" in equation.params  # JAX's name for it
    return _RULES.get(equation.primitive.name, _call if is_call else _every)


# What each output of an equation depends on, given what each input does.


def _every(equation, given):
    """Anything else: every output depends on every input."""
    return [frozenset().union(*given)] * len(equation.outvars)


def _each(equation, given):
    """Each output depends on the input in its place."""
    return given


def _call(equation, given):
    """A call of a function; of a custom derivative, it is the function itself."""
    params = equation.params
    names = [name for name in ("call_jaxpr", "jaxpr", "call") if name in params]
    return _through(params[names[0]], given)


def _cond(equation, given):
    which, *given = given
    found = [_through(branch, given) for branch in equation.params["branches"]]
    return [which.union(*needs) for needs in zip(*found)]


def _while(equation, given):
    """The number of iterations, and with it every output, depends on the condition."""
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    of_test, of_body = given[:first], given[first : first + second]

    def body(carry):
        return _through(params["body_jaxpr"], of_body + carry)

    carry = _carried(body, given[first + second :])
    (test,) = _through(params["cond_jaxpr"], of_test + carry)
    return [needs | test for needs in carry]


def _scan(equation, given):
    """The arguments of a body are constants, carries and elements; its outputs carries and elements.

    Elements are told by the axis that they lack: how many there are of each is written otherwise by
    each version of JAX.
    """
    body = _open(equation.params["jaxpr"])
    carries = _count_alike(equation.outvars, body.outvars)
    first = _count_alike(equation.invars, body.invars) - carries
    constants, xs = given[:first], given[first + carries :]

    def step(carry):
        return _through(body, constants + carry + xs)

    carry = _carried(lambda carry: step(carry)[:carries], given[first:][:carries])
    return carry + step(carry)[carries:]


def _count_alike(outer, inner):
    return sum(a.aval.ndim == b.aval.ndim for a, b in zip(outer, inner, strict=True))


def _carried(body, carry):
    """What the carries of a loop depend on after any number of iterations: a fixpoint."""
    while True:
        after = [old | new for old, new in zip(carry, body(carry), strict=True)]
        if after == carry:
            return carry
        carry = after


_CALLS = "jit", "remat2", "shard_map", "composite", "custom_vmap_call"
_RULES = dict.fromkeys(_CALLS, _call) | {
    "cond": _cond,
    "optimization_barrier": _each,
    "scan": _scan,
    "while": _while,
}
