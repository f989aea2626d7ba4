"""Fits priors to the codes of every run of a folder: the second stage, for generation.

    python -m experiments.prior --workdir=runs/digits --prior=gmm
    python -m experiments.prior --workdir=runs/digits --prior=gaussian,maf,two_stage --steps=10000

A prior that is not in the package is named as module:function. It is kept with the run, as arrays,
until the run is trained on. Printed is what it gains in nats over N(0, I), where that is the run's
own prior, and `figures/samples.png` has images of its codes. What is known of the same parameters,
by the same code and with the same options, is not fitted again, unless by --fresh; what was
interrupted is resumed. `experiments.evaluate --measures=generation` measures what is generated.

On several processes or machines, as `experiments.evaluate` does: --workers, --group, --collect.

Exit codes: those of `experiments.evaluate`.
"""

from absl import flags

from aevae import InputError, figures
from aevae.config import lookup
from aevae.evaluation.second_stage import PRIORS
from aevae.runs import fitted, statistics, tables
from experiments import command, evaluate

ABOUT = f"""Test split, nats, {statistics.MEANING}.
log_density: E[log p2(z)] of test examples' codes; gain:
E[log p2(z) - log p(z)], p the run's own prior; rate: E[-log p2(z)] of discrete codes. Of two_stage they are
lower bounds, in expectation."""
OPTIONS = {  # of all priors, each by its name
    name: option for prior in PRIORS for name, option in prior.contract.options.items()
}


def define():
    names = ", ".join(prior.__name__ for prior in PRIORS)
    flags.DEFINE_list("prior", None, f"some of {names}, or module:function")
    evaluate.define_work(OPTIONS)


def main(args):
    named = args["prior"].value
    if not named and not args["collect"].value:
        names = ", ".join(prior.__name__ for prior in PRIORS)
        raise InputError(f"name a prior with --prior: {names}, or module:function")
    how = "aevae.evaluation.contract.measure"
    chosen = named and lookup.find(named, PRIORS, "prior", "contract", how)
    if evaluate.work(args, "prior", chosen, OPTIONS) is None:
        return 0
    workdir = args["workdir"].value
    names = chosen and [one.__name__ for one in chosen]
    print(tables.priors(workdir, names, ("log_density", "rate", "gain")))
    print(f"\n{ABOUT}\nAll of it is in {workdir}/priors.csv.")
    if any(fitted.names(workdir, row["run"]) for row in tables.results(workdir)):
        given = {"dataset": args["dataset"].value, "data_dir": args["data_dir"].value}
        print(*figures.draw(workdir, ["samples"], **given))
    return 0


if __name__ == "__main__":
    command.run(define, main)
