"""Tables of numbers, CSV, TSV and Parquet, as vectors [N, P]; pyarrow reads them."""

import re

import numpy as np

from aevae import InputError
from aevae.data.sources import images
from aevae.data.sources.assembly import Field, assembled
from aevae.data.sources.keys import FIELDS
from aevae.data.sources.source import first_line, listed
from aevae.data.sources.texts import UNNAMED, is_text, is_value, numbers_rows, read

LABELS = ("label", *FIELDS["label"], "class")  # text columns of these names are labels
INDEX = r"__index_level_\d+__"  # as pandas calls an index that has no name
WAYS = (  # of columns of numbers that are often no values
    (LABELS, "it is the label, call the column `label`"),
    (
        (*map(str.lower, UNNAMED), "id", "index", "idx"),
        "it numbers the rows, leave it out",
    ),
)


def load(name, path):
    """The Source of a table: each row is a vector of numbers, the column `label` its label.

    Raises:
      InputError: a file that cannot be read; text, dates or missing values, by column.
    """
    import pyarrow as pa

    notes = []
    try:
        with pa.PythonFile(path.open("rb")) as file:
            if path.suffix.lower() in (".parquet", ".pq"):
                from pyarrow import parquet

                table = parquet.read_table(file)
            else:
                table, notes = read(name, path, file)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(f"cannot read {path}: {reason}") from None
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from None
    try:
        parts, columns, said = parts_of(name, {None: (name, table)})
        return assembled(name, parts, [*notes, *said], columns)
    except InputError as fault:  # which the first row may explain
        raise InputError("; ".join([str(fault), *notes])) from None


def given(name, frame):
    """The Source of a table in memory, a DataFrame of pandas or Polars, or one of pyarrow's."""
    parts, columns, notes = parts_of(name, {None: (name, table(name, frame))})
    return assembled(name, parts, notes, columns)


def table(name, frame):
    """A pyarrow table of a table in memory."""
    import pyarrow as pa

    try:
        return pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(
            f"{name}: cannot read the table: {first_line(error)}"
        ) from None


def parts_of(name, tables):
    """The fields of tables, whose columns are matched by name, as `assembled` takes them.

    Args:
      name: of all that is read, in messages.
      tables: {split: (where, pyarrow table)}; `where` names the table in messages.
    Returns:
      {split: {field: Field}}, the names of columns, and notes.
    Raises:
      InputError: columns that differ, or are no numbers.
    """
    found, notes = {}, []
    for split, (where, table) in tables.items():
        found[split] = _columns(where, table)
        index = index_of(where, table, found[split])
        notes += [
            f"{name}: not read: column {k!r}, the index of the rows" for k in index
        ]
        for key in index:
            del found[split][key]
    columns = _joined(name, tables, found)
    notes = [*dict.fromkeys(notes)]
    label = label_of(name, columns)
    if label:
        labels = _plain(columns.pop(label))
        guessed = label != "label"
        notes = [f"{name}: read {label} as label"] * guessed + notes
    for words, way in WAYS:
        odd = [repr(key) for key in columns if key.lower() in words]
        if odd:
            note = f"{name}: column {listed(odd)} is read as values"
            notes.append(f"{note}: if {way}")
    if not columns:
        raise InputError(f"{name} has no columns of numbers beside {label or 'these'}")
    _check(name, columns)
    image = _numbers(name, columns, notes)
    parts, stop = {}, 0
    for split, (where, table) in tables.items():
        rows = slice(stop, stop := stop + len(table))
        parts[split] = {"image": Field(where, image[rows])}
        if label:
            of = f"column {label} of {name}"
            parts[split]["label"] = Field(of, labels[rows], guessed)
    return parts, tuple(columns), notes


def _columns(where, table):
    """{name: values} of a table; InputError for none, and for several of one name."""
    bare = [column.strip() for column in table.column_names]
    names = bare if len(set(bare)) == len(bare) else table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{where} has several columns {listed(twice)}: rename them")
    if not table.num_rows or not names:
        raise InputError(
            f"{where} has {table.num_rows} rows of {len(names)} columns: a table of numbers has a "
            "row for each example below the names of its columns"
        )
    return dict(zip(names, table.columns))


def _joined(name, tables, found):
    """The columns of all splits, those of one name below one another."""
    import pyarrow as pa

    (_, (first, _)), *_ = tables.items()
    names, *_ = map(list, found.values())
    for split, columns in found.items():
        differ = sorted({*names} ^ {*columns})
        if differ:
            raise InputError(
                f"{first} and {tables[split][0]} differ in their columns: column "
                f"{listed(differ)} is only in one of them; splits must have the same"
            )
    try:
        joined = pa.concat_tables(
            [pa.table(c).select(names) for c in found.values()],
            promote_options="permissive",
        )
    except pa.ArrowException as error:
        raise InputError(
            f"{name}: tables of splits differ in a column: {first_line(error)}: save it as one type"
        ) from None
    return dict(zip(names, joined.columns))


def label_of(name, columns):
    """The column of labels: `label`, in any case, or one of texts that is called so elsewhere."""
    plain = [key for key in columns if key.lower() == "label"]
    if len(plain) > 1:
        raise InputError(f"{name} has several columns {listed(plain)}: rename them")
    texts = [k for k in columns if k.lower() in LABELS and is_text(columns[k].type)]
    found = plain or texts
    return found[0] if len(found) == 1 else None


def _plain(values):
    """A column as an array, of objects where values are missing."""
    if values.null_count:
        return np.array(values.to_pylist(), object)
    return values.to_numpy()


def index_of(name, table, columns):
    """The columns that number or name the rows, and are not the label.

    They are the index, as pandas says beside its tables or by their names, and what has no name and
    numbers the rows, as in text.
    """
    label = label_of(name, columns)
    try:
        saved = table.schema.pandas_metadata["index_columns"]
        saved = [str(key).strip() for key in saved]
    except (KeyError, TypeError, ValueError):  # there is none, or it is damaged
        saved = []
    return [
        key
        for key, values in columns.items()
        if key != label
        and (
            key in saved
            or re.fullmatch(INDEX, key)
            or (key in UNNAMED and numbers_rows(values))
        )
    ]


def _check(name, columns):
    """InputError for columns that are no numbers, or have missing values."""
    import pyarrow as pa

    types = pa.types
    usable = types.is_integer, types.is_floating, types.is_boolean, types.is_decimal
    for key, values in columns.items():
        if any(is_usable(values.type) for is_usable in usable):
            continue
        held = str(values.type)
        if is_text(values.type):
            texts = [text for text in values.to_pylist() if text]
            odd = [text for text in texts if not is_value(text)] or texts
            held = f"text, such as {odd[0][:20]!r}" if odd else "no values"
        elif types.is_null(values.type):
            held = "no values"
        raise InputError(
            f"{name}: column {key or repr(key)} holds {held}: a table has numbers, and labels in the column "
            "`label`; leave the column out, or save it as numbers"
        )
    missing = {key: v.null_count for key, v in columns.items() if v.null_count}
    if missing:
        counted = listed([f"{k or repr(k)} ({count})" for k, count in missing.items()])
        raise InputError(
            f"{name} has missing values in column {counted}: leave these rows out, or fill them"
        )


def _numbers(name, columns, notes):
    """The columns as one array: gray levels or binary where all are whole numbers that can be so.

    That is up to `images.stored`; other whole numbers are values, and so floats.
    """
    import pyarrow as pa

    kinds = {values.type for values in columns.values()}
    image = np.empty((len(next(iter(columns.values()))), len(columns)), np.float32)
    rounded, steps = [], {}
    exact = pa.float16(), pa.float32(), pa.uint8()
    for k, (key, values) in enumerate(columns.items()):
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        found = values.cast(pa.float64(), safe=False).to_numpy()
        image[:, k] = images.single(f"{name}: column {key}", found)
        steps[key] = np.inf if values.type in exact else images.steps(found)
        if (
            steps[key] >= images.STEPS
            and pa.types.is_integer(values.type)
            and np.abs(found).max() > 2**24
        ):
            rounded.append(key)
    few = [key for key, count in steps.items() if count < images.STEPS]
    if few:
        notes += images.coarse(f"{name}: column {listed(few)}", [*steps.values()])
    if rounded:
        notes.append(
            f"{name}: column {listed(rounded)} has whole numbers beyond 2^24, which float32 rounds"
        )
    least, most = image.min(), image.max()
    whole = all(map(pa.types.is_integer, kinds - {pa.bool_()}))
    full = 1 if pa.bool_() in kinds else 255
    if whole and least >= 0 and most in (1, full):
        return image.astype(np.uint8 if kinds <= {pa.uint8(), pa.bool_()} else np.int64)
    if kinds <= {pa.uint8()}:
        notes.append(
            f"{name} is uint8 from {least:g} to {most:g}: a table's columns are read "
            "as values; if 255 stands for 1, divide them by 255"
        )
    return image
