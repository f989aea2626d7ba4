"""What is measured of trained runs.

`evaluate` drives the measures, `contract` says what a measure is, `work` runs one on a group.
Measures: `likelihood` (importance sampling), `annealing`, `aggregate` (the parts of the rate),
`representation` (compression and features), `disentanglement`, whose scores are in `scores`.
`codes` encodes.
"""
