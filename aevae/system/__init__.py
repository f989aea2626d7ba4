"""The operating system and the hardware: what the package asks of the machine it runs on.

    errors      the exceptions of the package: InputError, WriteError, Interrupted
    files       atomic writes, locks, checksums
    cache       the folder of what can be rebuilt, wherever it can be written
    machine     devices, the cache of compiled programs, versions and hardware
    signals     SIGTERM, Ctrl-C, and a scheduler's signals during training

Any other package may import from here.
"""
