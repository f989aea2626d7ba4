"""The code that a run folder was trained with: fingerprints in config.json, compared on resume."""

from typing import NamedTuple

from aevae import InputError, __version__
from aevae.config import fingerprint, syntax


class Code(NamedTuple):
    """Fingerprints of all that the runs of a folder execute."""

    method: dict[str, str]  # {"objective module:name": that of it and of what it calls}
    modules: dict[str, str]  # of whole modules: the package's, and the user's by files
    bytecode: list[str]  # functions without source, compared by their bytecode
    accepted: list[dict]  # modules that changed between commands, and by which version

    def join(self, now, accept=False):
        """This code with that of a later command.

        Raises:
          InputError: a function or class of a method that has changed, by name; a module that has
            changed, unless `accept` says to go on and to record it.
        """
        for name, found in now.method.items():
            if self.method.get(name, found) != found:
                path, _, reference = name.partition(" ")
                raise InputError(
                    f"{path.rpartition('.')[-1]} {reference.partition(':')[2]} was other code: "
                    "take another --workdir (with --init_from=FOLDER:RUN it starts from a run of this "
                    "folder), or start over with --fresh"
                )
        changed = {
            name: [self.modules.get(name), now.modules.get(name)]
            for name in sorted(self.modules | now.modules)
            if self.modules.get(name) != now.modules.get(name)
        }
        if changed and not accept:
            raise InputError(
                f"the code of {', '.join(changed)} has changed since: --code=accept goes on with "
                "it and records that, or take another --workdir, or start over with --fresh"
            )
        more = [{"aevae": __version__, "changed": changed}] if changed else []
        return Code(
            self.method | now.method,
            now.modules,
            sorted({*self.bytecode, *now.bytecode}),
            [*self.accepted, *more],
        )


def of(runs, source, known=None):
    """The `Code` of runs; `source` is that of their config file, or None for a Config.

    `known` is the code of a command's other runs, whose functions are not looked at again.
    """
    if known is None:
        texts = source.texts if source else {}
        mine = {name: syntax.of_text(text) for name, text in texts.items()}
        known = Code({}, fingerprint.of_package() | mine, [], [])
    found = fingerprint.of_configs(runs, known.method)
    return Code(
        {name: each.digest for name, each in found.items()},
        known.modules,
        sorted({name for each in found.values() for name in each.bytecode}),
        [],
    )
