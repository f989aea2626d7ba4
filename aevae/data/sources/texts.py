"""Tables as text, CSV and TSV: their separators, and whether the first row is names or numbers."""

import numpy as np

from aevae.data.sources.source import first_line

SHOWN = 5  # cells, at most, that a message shows
MARKS = ";\t|"  # that may separate cells, beside commas and spaces
UNNAMED = ("", "Unnamed: 0")  # columns that pandas and R save the numbers of rows as


def read(name, path, file):
    """A pyarrow table of a file of text, and what is to be said of its first row.

    A first row of numbers, booleans and spellings of what is missing is names if it
      is 0, 1, and so on, as pandas writes a DataFrame that has none,
      begins with an empty cell above the numbers of rows, or
      rises or falls and has in no column a number like those below.
    An empty cell may stand before these where it is above an index: before 0, 1, and above text.

    Raises:
      ValueError: other separators, or what pyarrow cannot read.
    """
    import pyarrow as pa
    from pyarrow import compute, csv

    mark = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    parse = csv.ParseOptions(delimiter=mark)
    head, below = (file.readline().decode("utf-8", "replace").strip() for _ in "12")
    file.seek(0)
    try:
        found = csv.read_csv(file, parse_options=parse)
    except pa.ArrowException as error:
        _check_mark(mark, head, MARKS)
        if head and not below:
            raise ValueError("it has one row: examples follow below it") from None
        raise ValueError(first_line(error)) from None
    names = found.column_names
    if not found.num_rows:
        return found, []
    for k, values in enumerate(found.columns):
        if is_text(values.type):
            found = found.set_column(k, names[k], compute.utf8_trim_whitespace(values))
    alone = len(names) == 1 and is_text(found.column(0).type)
    _check_mark(mark, head, (*MARKS, ",", " ") if alone else "")
    shown = [n or repr(n) for n in names[:SHOWN]] + ["..."] * (len(names) > SHOWN)
    row = f"{name}: its first row, {', '.join(shown)}, is"
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
    numbers = {k: n for k, n in enumerate(names) if _is_number(n)}
    counts = [*numbers.values()] == [str(k) for k in range(len(numbers))]
    index, blank = found.column(0), not names[0].strip() and len(names) > 1
    numbered = blank and numbers_rows(index)
    rest = names[blank and (counts or numbered or is_text(index.type)) :]
    unlike = all(_is_unlike(n, found.column(k)) for k, n in numbers.items())
    ordered = unlike and _is_ordered([float(n) for n in numbers.values()])
    if not all(map(is_value, rest)):
        return True, counts or ordered
    if len(numbers) == len(rest) and (counts or numbered or (ordered and rest[1:])):
        return True, counts and numbered
    return False, True


def _check_mark(mark, head, marks):
    """ValueError where another mark separates the first row: one of `marks`, or between numbers."""
    for other in (*MARKS, ",", " "):
        cells = head.split(None if other == " " else other)
        if other == mark or len(cells) < 2:
            continue
        numbers = all(_is_number(cell.replace(",", ".")) for cell in cells)
        if other in marks or (numbers and other in MARKS):
            way = "save them separated by commas, and decimals by points"
            if other == ",":
                way = "name it .csv; or, if they are decimals, save points for commas"
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


def numbers_rows(values):
    """Whether a column may be the numbers of the rows: whole numbers, each of them once."""
    import pyarrow as pa

    whole = pa.types.is_integer(values.type) and not values.null_count
    return whole and len(values.unique()) == len(values)


def _is_unlike(text, values):
    """Whether a number is none that could stand in a column: far off, or whole where none is.

    Numbers of one format, as 0.0000 and 1.0000 of np.savetxt, may be whole by chance.
    """
    if str(values.type) not in ("int64", "double"):
        return False
    below = values.drop_null().to_numpy()
    below = below[np.isfinite(below)]
    if not len(below):
        return False
    low, high = float(below.min()), float(below.max())
    number = float(text)
    far = not 2 * low - high <= number <= 2 * high - low
    whole = number % 1 == 0 and text in (str(number), str(int(number)))
    return far or (whole and not (below % 1 == 0).any())
