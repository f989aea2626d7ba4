"""The machine that runs are trained on: files, signals, devices, and the errors of the package."""
