"""Tables as text, CSV and TSV: their separators, and whether the first row is names or numbers."""

import numpy as np

from aevae.data.sources.source import first_line

SHOWN = 5  # cells, at most, that a message shows


def read(name, path, file):
    """A pyarrow table of a file of text, and what is to be said of its first row.

    A first row of numbers, booleans and spellings of what is missing is names if it
      counts from 0, as pandas writes a DataFrame that has none,
      begins with an empty cell above the numbers of rows, or
      rises or falls and has in no column a number like those below.

    Raises:
      ValueError: other separators, or what pyarrow cannot read.
    """
    import pyarrow as pa
    from pyarrow import csv

    mark = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    parse = csv.ParseOptions(delimiter=mark)
    head = file.readline().decode("utf-8", "replace").strip()
    file.seek(0)
    try:
        found = csv.read_csv(file, parse_options=parse)
    except pa.ArrowException as error:
        _check_mark(mark, head, alone=True)
        raise ValueError(first_line(error)) from None
    names = found.column_names
    _check_mark(mark, head, len(names) == 1, is_text(found.column(0).type))
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    row = f"{name}: its first row, {shown}, is"
    are_names, is_plain = _are_names(names, found)
    if are_names:
        said = "read as names: if it is an example, put a row of names above it"
        return found, [] if is_plain else [f"{row} {said}"]
    file.seek(0)
    options = csv.ReadOptions(autogenerate_column_names=True)
    found = csv.read_csv(file, read_options=options, parse_options=parse)
    said = "numbers, and read as an example: there are no names of columns"
    counted = [str(k) for k in range(len(names))]
    return found.rename_columns(counted), [f"{row} {said}, and no labels"]


def _are_names(names, found):
    """Whether the first row is names of the columns `found` below it, and whether that is plain."""
    numbered = _is_index(names, found)
    rest = names[numbered:]
    numbers = {k: float(n) for k, n in enumerate(names) if _is_number(n)}
    unlike = [_is_unlike(n, found.column(k)) for k, n in numbers.items()]
    counts = [*numbers.values()] == [*range(len(numbers))]
    ordered = all(unlike) and _is_ordered([*numbers.values()])
    if not all(map(is_value, rest)):
        return True, counts or ordered
    if len(numbers) == len(rest) and (counts or numbered or (ordered and rest[1:])):
        return True, counts and (numbered or any(unlike))
    return False, True


def _check_mark(mark, head, alone, texts=False):
    """ValueError where another mark separates the cells of the first row, `head`."""
    for other in ",;\t| ":
        cells = head.split(None if other == " " else other)
        if other == mark or len(cells) < 2:
            continue
        numbers = all(_is_number(cell.replace(",", ".")) for cell in cells)
        if (alone and (texts or other not in " ,")) or (numbers and other in ";|\t"):
            way = "save them separated by commas, and decimals by points"
            way = "name it .csv" if other == "," else way
            raise ValueError(f"its columns are separated by {other!r}: {way}")


def is_text(kind):
    """Whether a column's type is text, or a dictionary of texts."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return str(kind) in ("string", "large_string", "string_view")


def _is_number(text):
    try:
        return "_" not in text and np.isfinite(float(text))
    except ValueError:
        return False


def is_value(text):
    """Whether a cell can be a value: a number, a boolean, or a spelling of what is missing."""
    from pyarrow import csv

    known = csv.ConvertOptions()
    words = (*known.null_values, *known.true_values, *known.false_values)
    text = text.strip()
    return text in words or text.strip("+-").lower() == "inf" or _is_number(text)


def _is_ordered(numbers):
    steps = np.diff(numbers)
    return bool((steps > 0).all() or (steps < 0).all())


def _is_index(names, found):
    """Whether the first column has no name, and the numbers of the rows."""
    values = found.column(0)
    if names[0].strip() or len(names) == 1 or str(values.type) != "int64":
        return False
    return not values.null_count and len(values.unique()) == len(values)


def _is_unlike(number, values):
    """Whether a number is none that could stand in a column: far off, or whole where none is."""
    if str(values.type) not in ("int64", "double"):
        return False
    below = values.drop_null().to_numpy()
    below = below[np.isfinite(below)]
    if not len(below):
        return False
    low, high = float(below.min()), float(below.max())
    far = not 2 * low - high <= number <= 2 * high - low
    return far or (number % 1 == 0 and not (below % 1 == 0).any())
