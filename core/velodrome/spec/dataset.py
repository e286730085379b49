"""The data that every entry trains and is tested on: which, in which format, from where, and how they are split."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from velodrome.spec.base import Strict, absent
from velodrome.spec.types import DIGEST, FACTORY, TITLE, Finite, JsonObject, Name, refused
from velodrome.spec.wording import suggestion
from velodrome.vocabulary import FORMATS, MOST_CLASS_NAME, SAMPLE_RATE, SECONDS, TOKENS, VOID, WINDOW, Tokens

# The most columns that a job may name; a table itself may have more.
MOST_COLUMNS = 20_000
FORMAT = f"^({'|'.join(FORMATS)}|{FACTORY})$"


def _format(name: str) -> str:
    if name in FORMATS or re.fullmatch(FACTORY, name):
        return name
    hint = "a dataset of your own is package.module:factory" if ":" in name else suggestion(name, FORMATS)
    raise refused("is no format that Velodrome reads", name, hint)


FormatName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    AfterValidator(_format),
    WithJsonSchema({"type": "string", "maxLength": 253, "pattern": FORMAT}),
]
ColumnName = Annotated[str, Field(min_length=1, max_length=1024)]
ColumnNames = Annotated[tuple[ColumnName, ...], Field(max_length=MOST_COLUMNS)]
ClassName = Annotated[str, Field(min_length=1, max_length=MOST_CLASS_NAME)]
ClassNames = Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=VOID)]
RelativePath = Annotated[str, Field(min_length=1, max_length=1024)]


class PersistentVolumeClaim(Strict):
    """The volume that holds a data set on a cluster."""

    claim_name: Name = Field(description="Name of a PersistentVolumeClaim in the job's namespace, mounted read-only.")
    path: str = Field(default="", max_length=1024, description="Folder inside the volume that holds the data set.")


class Source(Strict):
    """Where the data set's files come from: exactly one place."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        default=None, description="A volume of the cluster; on one machine, its `path` is a folder below --data."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A folder of the runner's image, or of this machine (relative to --data).",
    )
    download: bool = Field(default=False, description="Whether the runner may download missing files.")


class Columns(Strict):
    """What the columns are. The values tell what other columns of a table are; those of sequences are channels."""

    numeric: ColumnNames = Field(default=(), description="Columns of numbers.")
    categorical: ColumnNames = Field(default=(), description="Columns of categories, whatever their values look like.")
    ignore: ColumnNames = Field(default=(), description="Columns that no model may see, such as an id.")
    sequence: ColumnName | None = Field(
        default=None, exclude_if=absent, description="SequenceCSV: the column that names the sequence of each row."
    )
    step: ColumnName | None = Field(
        default=None,
        exclude_if=absent,
        description="SequenceCSV: the column of numbers or times by which a sequence's rows must be sorted, "
        "which no model sees.",
    )


class SplitFiles(Strict):
    """A file, or a folder of images, sounds or texts, for each split: paths below the source."""

    train: RelativePath = Field(description="The training split.")
    validation: RelativePath | None = Field(
        default=None, description="The validation split; taken from the training split if absent."
    )
    test: RelativePath = Field(description="The test split.")


class SplitFractions(Strict):
    """Shares of all samples, chosen by a fixed hash of the sample or of its group; a text is cut by position."""

    validation: Finite | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="Share of the validation split; taken from the training split if absent.",
    )
    test: Finite = Field(gt=0, le=0.5, description="Share of the test split.")


class DatasetSplits(Strict):
    """Which samples train, validate and test: one of files, column and fractions."""

    files: SplitFiles | None = Field(default=None, description="A file or a folder for each split.")
    column: ColumnName | None = Field(
        default=None, description="A table's column whose values are train, validation or test."
    )
    fractions: SplitFractions | None = Field(
        default=None, description="Shares of all samples, by a fixed hash; of a text, by position."
    )
    group: ColumnName | None = Field(
        default=None, description="A table's column: samples with the same value of it are never in two splits."
    )


class Dataset(Strict):
    """The data that every entry trains and is tested on."""

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=TITLE,
        description="Name of a data set that the runner knows; with `format`, your own name for your data.",
    )
    format: FormatName | None = Field(
        default=None,
        exclude_if=absent,
        description="The format of your own data: a name, or package.module:factory for torch datasets.",
    )
    source: Source | None = Field(
        default=None, description="Where its files are; data that ships with a library needs none."
    )
    args: JsonObject | None = Field(
        default=None,
        exclude_if=absent,
        description="Arguments of your own factory, `root` aside, which is the source's folder.",
    )
    target: ColumnName | None = Field(
        default=None, exclude_if=absent, description="CSV, Parquet, SequenceCSV, Documents: the column to predict."
    )
    text: ColumnName | None = Field(
        default=None, exclude_if=absent, description="Documents: the column, or the field of JSON Lines, of the texts."
    )
    columns: Columns | None = Field(
        default=None,
        exclude_if=absent,
        description="CSV, Parquet, SequenceCSV: what the other columns are; if absent, those of a table are told by "
        "their values.",
    )
    splits: DatasetSplits | None = Field(
        default=None,
        exclude_if=absent,
        description="How your own data are split; if absent, by the format's own files or folders.",
    )
    image_size: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=1,
        le=4096,
        description="ImageFolder, ImageNet: shorter side in pixels, of which the central square is used; "
        "COCO, VOC, VOCSegmentation: the longer one.",
    )
    classes: ClassNames | None = Field(
        default=None,
        exclude_if=absent,
        description="VOCSegmentation: the name of each label of the masks, from 0 on; those of Pascal VOC if absent.",
    )
    tokens: Tokens | None = Field(
        default=None,
        exclude_if=absent,
        description=f"Text: what a model predicts one by one, characters or bytes; {TOKENS} if absent.",
    )
    window: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=2,
        le=65_536,
        description=f"Text: how many tokens a sample has; {WINDOW} if absent.",
    )
    sample_rate: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=1_000,
        le=192_000,
        description=f"SpeechCommands: how many samples a second each file has; {SAMPLE_RATE:,} if absent.",
    )
    seconds: Finite | None = Field(
        default=None,
        exclude_if=absent,
        ge=0.01,
        le=60,
        description="SpeechCommands: how long a clip is, by silence behind a shorter one or by cutting a longer one; "
        f"{SECONDS:g} if absent.",
    )
    digest: str | None = Field(
        default=None,
        pattern=DIGEST,
        max_length=71,
        description="Pins the data: a trial that reads other data fails; every record has the digest of its data.",
    )
    validation_fraction: Finite = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of the training split to validate on, unless `splits` has its own; 0: nothing is validated.",
    )
