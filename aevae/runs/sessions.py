"""Runs as sessions of TensorBoard's HParams page: their hyperparameters, and how they ended."""

import math

from aevae import config

HPARAMS = "_hparams_/"  # before the tags of the page's records
START, END = f"{HPARAMS}session_start_info", f"{HPARAMS}session_end_info"
SUCCESS, FAILURE = 1, 2  # of the page's `Status`


def hparams(run, columns):
    """Every value of a run's config, by its shortest name, as {name: number, truth or text}.

    The page puts those that differ between runs first. A run started by an older grid has a value of
    every axis that a later grid sweeps.

    Args:
      run: its `Config`.
      columns: {name: text}, what a table's row says of which run it is.
    """
    found = {config.short(run, path): _plain(v) for path, v in run.values.items()}
    others = {name: str(value) for name, value in columns.items() if value != ""}
    others.pop("run", None)
    return {k: v for k, v in (others | found).items() if v is not None}


def _plain(value):
    """A value as the page sorts and filters it: a number, a truth value, or text."""
    value = config.plain(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)) and abs(value) < math.inf:
        return float(f"{value:.9g}") if isinstance(value, float) else float(value)
    return config.describe(value).encode("utf-8", "replace").decode()


def started(values, now):
    """The event that a session with these hyperparameters begins."""
    from tensorboardX.proto.plugin_hparams_pb2 import (
        HParamsPluginData,
        SessionStartInfo,
    )

    info = SessionStartInfo(start_time_secs=now)
    for name, value in sorted(values.items()):
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = value
    return _event(START, HParamsPluginData(session_start_info=info), now)


def ended(diverged, now):
    """The event that a session ends, in success or failure."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo

    status = FAILURE if diverged else SUCCESS
    info = SessionEndInfo(status=status, end_time_secs=now)
    return _event(END, HParamsPluginData(session_end_info=info), now)


def _event(tag, content, now):
    from tensorboardX.proto.event_pb2 import Event

    event = Event(wall_time=now)
    plugin = event.summary.value.add(tag=tag).metadata.plugin_data
    plugin.plugin_name, plugin.content = "hparams", content.SerializeToString()
    return event


def values_in(value):
    """The hyperparameters in a summary's value; None where it is no beginning of a session."""
    if value.tag != START:
        return None
    found = _content(value).session_start_info.hparams
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in found.items()}


def status_in(value):
    """Whether a summary's value says that a session diverged; None where it is no end of one."""
    if value.tag != END:
        return None
    return _content(value).session_end_info.status == FAILURE


def _content(value):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    return HParamsPluginData.FromString(value.metadata.plugin_data.content)
