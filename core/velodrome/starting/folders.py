"""Looks at a person's folders of pictures or sounds. Reads, and never writes."""

from __future__ import annotations

import json
import math
import wave
from itertools import islice
from pathlib import Path

from velodrome.errors import NotThere
from velodrome.spec import LogMel
from velodrome.spec.sound import wrong_bands
from velodrome.starting.draft import FoundData, data_name, source_line
from velodrome.text import counted, line

_SOUNDS = frozenset({".wav"})
_CLIPS = 20  # of each class are looked at
_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_LARGE = 100_000_000  # bytes
_EXPORTED = "_annotations.coco.json"
_FRACTIONS = "splits: {fractions: {validation: 0.1, test: 0.2}}   # by a fixed hash of each picture"


def pictures(path: Path) -> FoundData:
    """A folder with a folder for each class, or with such folders below `train` and `test`; or with boxes or masks.

    Raises:
        NotThere: there is no such folder, or no pictures of two classes in it.
    """
    if not path.is_dir():
        raise NotThere("--images", line(f"{path}: there is no such folder"))
    dense = _coco(path) or _voc(path) or _masks(path)
    if dense is not None:
        return dense
    divided = (path / "train").is_dir() and (path / "test").is_dir()
    classes = _classes(path / "train" if divided else path, _PICTURES)
    if len(classes) < 2:
        has = (
            f"it has pictures of {line(', '.join(classes))} alone" if classes else "it has no pictures in such folders"
        )
        needs = (
            "a folder for each class, or train/CLASS and test/CLASS, or boxes as COCO or VOC have them, or VOC's masks"
        )
        raise NotThere("--images", line(f"{path} needs {needs}: {has}", 300))
    splits = () if divided else ("splits: {fractions: {test: 0.2}}   # by a fixed hash of each picture",)
    where = "train and test" if divided else "one folder for each class"
    return FoundData(
        title=data_name(path.resolve().name),
        kind="images",
        dataset=(
            f"name: {data_name(path.resolve().name)}",
            "format: ImageFolder",
            source_line(path),
            "imageSize: 64                # the shorter side, in pixels; the central square of it is used",
            *splits,
        ),
        facts=(line(f"{path.name}: pictures of {len(classes)} classes ({', '.join(classes[:8])}), {where}.", 200),),
    )


def _coco(path: Path) -> FoundData | None:
    """Boxes in COCO's files, which names of splits tell apart where there are several; None without such files."""
    files = sorted(path.glob("annotations/*.json")) or sorted(path.glob(f"*/{_EXPORTED}"))
    files = files or [file for file in sorted(path.glob("*.json")) if _has_boxes(file)]
    if not files:
        return None
    boxes = [file for file in files if file.name.startswith("instances_")] or files
    names = ", ".join(str(file.relative_to(path)) for file in boxes[:4])
    single = len(files) == 1
    where = source_line(files[0] if single and files[0].name == _EXPORTED else path)
    return _boxes(path, "COCO", where, f"boxes in {names}", divided=not single)


def _has_boxes(file: Path) -> bool:
    """Whether a file has the fields of COCO's annotations; a large one is taken for something else."""
    if file.stat().st_size > _LARGE:
        return False
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.keys() >= {"images", "annotations", "categories"}


def _voc(path: Path) -> FoundData | None:
    """Boxes as Pascal VOC has them: in the folder, or in a folder VOC2012 of it; None without such folders."""
    root = _root(path, "Annotations")
    if root is None:
        return None
    count = sum(1 for _ in (root / "Annotations").glob("*.xml"))
    what = f"boxes in {counted(count, 'file')} of VOC"
    return _boxes(path, "VOC", source_line(root), what, divided=_listed(root, "Main"))


def _masks(path: Path) -> FoundData | None:
    """Masks as Pascal VOC has them, as `_voc`."""
    root = _root(path, "SegmentationClass")
    if root is None:
        return None
    name, count = data_name(path.resolve().name), sum(1 for _ in (root / "SegmentationClass").glob("*.png"))
    of_voc = root.name.startswith("VOC")
    return FoundData(
        title=name,
        kind="masks",
        dataset=(
            f"name: {name}",
            "format: VOCSegmentation",
            source_line(root),
            "imageSize: 160               # the longer side, in pixels",
            *(
                ()
                if of_voc
                else ("classes: [background, object]   # write here what the labels 0, 1, ... of the masks are",)
            ),
            *(() if _listed(root, "Segmentation") else (_FRACTIONS,)),
        ),
        facts=(
            line(f"{path.name}: {counted(count, 'mask')} of VOC; the class of each pixel is told.", 300),
            *(() if of_voc else ("The names of the classes are a guess: no file has them.",)),
        ),
        ranked="segmentation",
    )


def _root(path: Path, folder: str) -> Path | None:
    """Where VOC's pictures are with such a folder: there, or in a folder VOC2012 of it; None without any."""
    roots = [path, *path.glob("VOC*"), *path.glob("*/VOC*")]
    return next((one for one in roots if (one / folder).is_dir() and (one / "JPEGImages").is_dir()), None)


def _listed(root: Path, folder: str) -> bool:
    lists = root / "ImageSets" / folder
    return (lists / "train.txt").is_file() and any((lists / f"{name}.txt").is_file() for name in ("val", "test"))


def _boxes(path: Path, data_format: str, source: str, what: str, *, divided: bool) -> FoundData:
    name = data_name(path.resolve().name)
    return FoundData(
        title=name,
        kind="scenes",
        dataset=(
            f"name: {name}",
            f"format: {data_format}",
            source,
            "imageSize: 160               # the longer side, in pixels",
            *(() if divided else (_FRACTIONS,)),
        ),
        facts=(line(f"{path.name}: {what}; each is found, and its class is told.", 300),),
        ranked="detection",
    )


def sounds(path: Path) -> FoundData:
    """A folder with a folder for each class, as Google's Speech Commands have, with their lists or without.

    Raises:
        NotThere: there is no such folder, no sounds of two classes in it, or one of them can't be read.
    """
    if not path.is_dir():
        raise NotThere("--sound", line(f"{path}: there is no such folder"))
    divided = (path / "train").is_dir() and (path / "test").is_dir()
    folder = path / "train" if divided else path
    classes = [name for name in _classes(folder, _SOUNDS) if name != "_background_noise_"]
    if len(classes) < 2:
        raise NotThere("--sound", line(f"{path} needs a folder for each class, with .wav files: it has {len(classes)}"))
    clips = [
        _clip(file) for name in classes for file in islice(sorted((folder / name).rglob("*.[wW][aA][vV]")), _CLIPS)
    ]
    rate, seconds = clips[0][0], math.ceil(10 * max(length for _, length in clips)) / 10
    seconds = min(max(seconds, 0.1), 60)
    listed = (path / "testing_list.txt").is_file()
    splits: tuple[str, ...] = ("splits: {fractions: {validation: 0.1, test: 0.1}}   # no speaker is in two of them",)
    if listed or divided:
        splits = () if listed else ("splits: {files: {train: train, test: test}}",)
    bands = LogMel(bins=40)
    return FoundData(
        title=data_name(path.resolve().name),
        kind="sequences",
        dataset=(
            f"name: {data_name(path.resolve().name)}",
            "format: SpeechCommands",
            source_line(path),
            f"sampleRate: {rate:<17}# of every file",
            f"seconds: {seconds:<20g}# silence is put behind shorter ones",
            *splits,
        ),
        facts=(
            line(
                f"{path.name}: sounds of {len(classes)} classes ({', '.join(classes[:8])}), {rate:,} samples a second"
                f"{', split by the lists' if listed else ''}.",
                200,
            ),
        ),
        task="classification",
        preprocessing=""
        if wrong_bands(bands, rate, seconds)
        else f"{{logMel: {{bins: {bands.bins}}}}}   # energies of bands of frequencies, and no waveforms",
    )


def _clip(file: Path) -> tuple[int, float]:
    """The samples a second and the seconds of a WAV file."""
    try:
        with wave.open(str(file)) as clip:
            return clip.getframerate(), clip.getnframes() / max(clip.getframerate(), 1)
    except (OSError, EOFError, RuntimeError, wave.Error) as error:
        why = str(error) or "it is cut off"
        raise NotThere("--sound", line(f"{file} can't be read as a WAV file: {why}")) from error


def _classes(folder: Path, suffixes: frozenset[str]) -> list[str]:
    def holds_files(one: Path) -> bool:
        return one.is_dir() and any(each.suffix.lower() in suffixes for each in one.rglob("*"))

    return sorted(one.name for one in folder.iterdir() if holds_files(one))
