"""What is measured of trained runs.

`evaluate` drives the measures, by `plan`, which says what is to be measured of which groups; `worker`
evaluates one group as a task of its own; `measured` has a measure done, and keeps what it finds.
`contract` says what a measure is, `work` runs one on a group.
Measures: `likelihood` (importance sampling), `annealing`, `inference` (where the bound is lost),
`aggregate` (the parts of the rate), `collapse` (of latents), `representation` (compression and
features), `disentanglement`, whose scores are in `scores`; on codes `second_stage`, which fits priors
(networks by `fitting`), and `generation`, which measures what they give by `two_sample` and
`neighbors`, on `features` of images. `codes` encodes.
"""
