"""Folders of images, with folders for splits and for classes; Pillow reads them."""

import collections
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aevae import InputError
from aevae.data.sources.assembly import Field, assembled
from aevae.data.sources.keys import SPLITS, split_of
from aevae.data.sources.source import first_line, listed

ENDINGS = (  # in any case
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".jp2", ".avif"),
)
MODES = {  # of Pillow: what is stored of them, its type and channels
    "1": ("1", bool, 1),
    "L": ("L", np.uint8, 1),
    "LA": ("LA", np.uint8, 2),
    "RGB": ("RGB", np.uint8, 3),
    "RGBA": ("RGBA", np.uint8, 4),
    "P": ("RGB", np.uint8, 3),
    "PA": ("RGBA", np.uint8, 4),
    "F": ("F", np.float32, 1),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), ("I;16", np.float32, 1)),
}
WIDELY = "save np.asarray(Image.open(path)) of all, of one size and scale, as floats in an .npz"
SIDEWAYS = (5, 6, 7, 8)  # orientations of Exif that exchange height and width
HIDDEN = ".", "__MACOSX"  # how the names of what is not looked at begin
WIDE = "IF"  # how the modes begin of what Pillow clips to 0 to 255 in RGB and gray


def load(name, folder):
    """The Source of a folder of images.

    Folders called `train`, `validation` (`valid`, `val`, `dev`) and `test` are splits. In a split,
    or else in the folder, either lie images, or folders of images, whose names are the labels.
    Where the folder, or each split, has a single folder with images, which only has folders of
    such, that one is taken. Files are taken in the order of their paths.

    Raises:
      InputError: a folder without images, images that cannot be read, or of several sizes.
    """
    try:
        top, others = _top(folder, stop="train")
        found, notes = _found(name, top, others)
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from None
    if others:
        notes = [f"{name}: not read: {_counted(others)}", *notes]
    if top != folder:
        inner = top.relative_to(folder).as_posix()
        said = f"{name}: its one folder of images, {inner}, is read in its place"
        notes = [said, *notes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on single files
        every = [path for files in found.values() for path, _ in files]
        kinds = {path: _kind(path) for path in every}
        _check_same(name, folder, kinds)
        counts = collections.Counter(
            text for kind in kinds.values() for text in kind.said
        )
        notes += [f"{name}: {count} images {text}" for text, count in counts.items()]
        parts = {}
        for split, files in found.items():
            image = _read([path for path, _ in files], kinds)
            notes += _narrow(f"{name}{split and f', {split}'}", image, kinds[every[0]])
            parts[split] = {"image": Field(f"{name}{split and f', {split}'}", image)}
            if files[0][1] is not None:
                label = np.array([kind for _, kind in files])
                parts[split]["label"] = Field(f"labels of {name}", label)
    return assembled(name, parts, notes)


def _top(folder, stop=None):
    """The folder that has the splits or classes, and what is no image above it.

    It is the folder itself, or one below that is alone; where that is the split `stop`, the one above.
    """
    others = []
    while True:
        entries = sorted(folder.iterdir())
        full = list(filter(_has_images, entries))
        if len(full) != 1 or any(map(_is_image, entries)):
            break
        is_stop = stop and split_of(full[0].name) == stop
        if is_stop or any(map(_is_image, full[0].iterdir())):
            break
        folder = full[0]
        others += [path for path in entries if path not in full]
    return folder, others


def _found(name, folder, others):
    """{split or '': [(path, class or None), ...]} of a folder, and notes.

    Files that are no images are added to `others`.
    """
    splits, notes = collections.defaultdict(list), []
    entries, roots = sorted(folder.iterdir()), [folder]
    for path in entries:
        if path.is_dir() and split_of(path.name):
            splits[split_of(path.name)].append(path)
    if "train" not in splits:
        full = list(filter(_has_images, entries))
        if len(full) > 1 and all(split_of(path.name) for path in full):
            raise InputError(
                f"{name} has folders of images for splits, {', '.join(p.name for p in full)}, and "
                "none called train: rename one, or, if these are classes, put them into one"
            )
        found = {"": _classes(name, folder, others)}
    else:
        twice = [paths for paths in splits.values() if len(paths) > 1]
        if twice:
            raise InputError(
                f"{name} has several folders of one split: "
                f"{', '.join(path.name for path in twice[0])}"
            )
        own = [path for paths in splits.values() for path in paths]
        rest = [path for path in entries if path not in own]
        mixed = [path.name for path in filter(_has_images, rest)]
        if mixed:
            raise InputError(
                f"{name} has folders of images for splits, {', '.join(p.name for p in own)}, and "
                f"others, {listed(mixed)}: put classes into the folder of each split, or rename or "
                "move away what is no split"
            )
        others += rest
        roots, above = zip(*map(_top, own))
        if not set(roots) & set(own):
            others += [path for paths in above for path in paths]
            inner = listed([path.relative_to(folder).as_posix() for path in roots])
            notes = [f"{name}: each split's one folder, {inner}, is read in its place"]
        else:
            roots = own
        tops = dict(zip(splits, roots))
        found = {k: _classes(name, tops[k], others) for k in SPLITS if k in tops}
    empty = [split for split, files in found.items() if not files]
    if empty:
        place = f" in {empty[0]}" if empty[0] else ""
        held = f"; it holds {_counted(others)}" if others else ", and is empty"
        raise InputError(
            f"{name} is a folder without images{place} ({', '.join(ENDINGS[:6])}, ...){held}. A "
            "file of arrays or a table is given by its own path"
        )
    every = [each for files in found.values() for each in files]
    deep = [p for p, kind in every if kind is not None and p.parent.parent not in roots]
    if deep:
        notes.append(
            f"{name}: {len(deep)} images lie deeper than the folder of their class, such as "
            f"{deep[0].relative_to(folder)}: they are read as of it"
        )
    only = [{kind for _, kind in files} for files in found.values()]
    alone = sorted(set().union(*only), key=str)
    if None not in alone and all(len(kinds) == 1 for kinds in only):
        of = "of each split lie in one folder, " if alone[1:] else "lie in "
        notes.append(f"{name}: all images {of}{listed(alone)}: there are no labels")
        found = {k: [(path, None) for path, _ in files] for k, files in found.items()}
    if len({files[0][1] is None for files in found.values()}) > 1:
        raise InputError(
            f"{name}: some splits have folders of classes, and others have not: all must have the "
            "same"
        )
    return found, notes


def _classes(name, folder, others):
    """The images of a split, each with the name of its class if folders of classes hold them."""
    files, classes = [], {}
    for path in sorted(folder.iterdir()):
        if _is_open(path):
            inner = sorted(_within(path))
            images = [p for p in inner if _is_image(p)]
            others += [p for p in inner if not _is_image(p)] if inner else [path]
            if images:
                classes[path.name] = images
        elif _is_image(path):
            files.append(path)
        else:
            others.append(path)
    if files and classes:
        raise InputError(
            f"{name}: {folder.name} has images, such as {files[0].name}, beside folders of "
            f"images, such as {next(iter(classes))}: put them into a folder of their own, or move "
            "them away"
        )
    if files:
        return [(path, None) for path in files]
    return [(path, kind) for kind, paths in classes.items() for path in paths]


def _within(folder):
    """The files below a folder, and the folders there that are hidden or links, one by one."""

    def fail(error):
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        paths = {name: Path(place, name) for name in folders}
        shut = [k for k, p in paths.items() if k.startswith(HIDDEN) or p.is_symlink()]
        folders[:] = [name for name in folders if name not in shut]
        yield from (Path(place, name) for name in (*files, *shut))


def _has_images(path):
    return _is_open(path) and any(map(_is_image, _within(path)))


def _is_open(path):
    return path.is_dir() and not path.name.startswith(HIDDEN)


def _is_image(path):
    shown = not path.name.startswith(HIDDEN)
    return shown and path.suffix.lower() in ENDINGS and path.is_file()


class _Kind(NamedTuple):
    """What the head of a file says."""

    mode: str  # Pillow's
    size: tuple[int, int]  # (width, height), upright
    turned: bool
    said: tuple[str, ...]  # how it is read otherwise than it is stored


def _opened(path):
    """An image that Pillow has opened, and not decoded yet; a context."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path)
    except Exception as error:  # noqa: BLE001, Pillow raises any kind on a damaged file
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is no image, or damaged" if unknown else first_line(error)
        raise InputError(f"cannot read {path}: {reason}") from None


def _kind(path):
    with _opened(path) as image:
        mode, (width, height) = image.mode, image.size
        if mode not in MODES:
            way = "convert it to RGB or gray (L), as in Image.open(path).convert('RGB')"
            if mode[0] in WIDE:
                way = WIDELY
            raise InputError(f"{path} is an image of mode {mode}: {way}")
        clear, deep = "transparency" in image.info, ";16" in str(image.tile)
        said = {
            "with a palette: its colors are read": mode in ("P", "PA"),
            "of several frames: the first is read": getattr(
                image, "is_animated", False
            ),
            "of 16 bits: x/65535 is stored": MODES[mode][0] == "I;16",
            "of 16 bits a channel, of which Pillow reads 8": deep and mode[0] != "I",
            "with a color for transparency: it is read as it is": clear and mode != "P",
        }
        try:  # of a PNG, getexif would decode all of it
            known = image.format != "PNG" or "exif" in image.info
            turn = image.getexif().get(0x0112, 1) if known else 1
        except Exception:  # noqa: BLE001, as above
            turn = 1
        turned = turn in range(2, 9)
        said["turned upright, as their Exif says"] = turned
        size = (height, width) if turn in SIDEWAYS else (width, height)
        mode = "PA" if mode == "P" and clear else mode
        return _Kind(mode, size, turned, tuple(k for k, is_so in said.items() if is_so))


def _check_same(name, folder, kinds):
    """InputError unless all images have one size and mode; it lists what there is."""
    same = collections.defaultdict(list)
    for path, kind in kinds.items():
        same[MODES[kind.mode][0], kind.size].append(path)
    if len(same) == 1:
        return
    most = sorted(same.items(), key=lambda item: -len(item[1]))
    found = [
        f"{width}x{height} {mode} ({len(paths)}, such as {paths[0].relative_to(folder)})"
        for (mode, (width, height)), paths in most
    ]
    way = "bring copies to one, as in Image.open(path).convert('RGB').resize((64, 64)).save(path)"
    if any(mode[0] in WIDE for mode, _ in same):
        way = WIDELY
    raise InputError(
        f"{name} has images of several sizes or modes, width x height {listed(found)}: {way}"
    )


def _read(paths, kinds):
    """The images of one size and mode, [N, H, W, C]."""
    from PIL import ImageOps

    mode, kind, channels = MODES[kinds[paths[0]].mode]
    width, height = kinds[paths[0]].size
    images = np.empty((len(paths), height, width, channels), kind)
    for row, path in zip(images, paths):
        with _opened(path) as image:
            try:
                if kinds[path].turned:
                    image = ImageOps.exif_transpose(image)
                if image.mode in ("P", "PA"):
                    image = image.convert(mode)
                pixels = np.asarray(image).reshape(row.shape)
            except Exception as error:  # noqa: BLE001, as above
                raise InputError(f"cannot read {path}: {first_line(error)}") from None
        row[...] = pixels / np.float32(65535) if mode == "I;16" else pixels
    return images


def _narrow(where, image, kind):
    """A note on images of 16 bits that may have fewer."""
    if MODES[kind.mode][0] != "I;16":
        return []
    most = round(65535 * float(image.max()))
    if most >= 2**14:
        return []
    bits = max(most.bit_length(), 8)
    line = f"{where}: the greatest value of its images of 16 bits is {most}, so that "
    line += f"x/65535 reaches {most / 65535:.2g}"
    return [f"{line}: if they are of {bits} bits, save x / {2**bits - 1} as an .npz"]


def _counted(paths):
    """Counted by their ending, with an example: 2 .txt (a.txt), 1 hidden (.DS_Store)."""
    kinds = collections.defaultdict(list)
    for path in paths:
        hidden = path.name.startswith(HIDDEN)
        folder = "folder" if path.is_dir() else path.suffix or "without ending"
        kinds["hidden" if hidden else folder].append(path)
    return ", ".join(
        f"{len(found)} {kind} ({found[0].name})"
        for kind, found in sorted(kinds.items())
    )
