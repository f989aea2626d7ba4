"""What is measured of trained runs.

`evaluate` drives the measures, by `plan`, which says what is to be measured of which groups; `worker`
evaluates one group as a task of its own; `measured` has a measure done, and keeps what it finds.
`contract` says what a measure is, `work` runs one on a group.
Measures: `likelihood` (importance sampling), `annealing`, `aggregate` (the parts of the rate),
`representation` (compression and features), `disentanglement`, whose scores are in `scores`.
`codes` encodes. `second_stage` fits priors to codes (networks by `fitting`), and `generation` measures
what they give, by `two_sample` and `neighbors`, which compare generated with real vectors, such as
`features` of images.
"""
