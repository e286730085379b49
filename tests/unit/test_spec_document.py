"""YAML is read as kubectl reads it, with lines, and hostile text does no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome.spec import parse_jobs, read_jobs
from velodrome.spec.document import DEEPEST, MOST_VALUES, Document, parse

JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: race}
spec:
  dataset: {name: digits}
  entries: [{name: mlp, model: {name: velodrome/mlp}}]
"""


def one(text: str) -> Document:
    documents, problems = parse(text)
    assert not problems
    (document,) = documents
    return document


def problem(text: str) -> str:
    """The one thing that is wrong with a text."""
    _, (found,) = parse(text)
    return str(found)


# What scalars mean


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # sigs.k8s.io/yaml, which kubectl uses, resolves by YAML 1.1: gopkg.in/yaml.v2's resolve.go.
        *((word, True) for word in ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y")),
        *((word, False) for word in ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        ("tRUE", "tRUE"),
        ("nO", "nO"),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0b101", 5),
        ("017", 15),
        ("0", 0),
        ("1e-3", 0.001),
        ("1E3", 1000),
        ("1e+3", 1000),
        (".5", 0.5),
        ("5.", 5),
        ("08", 8),
        ("64.0", 64),
        ("-0.25", -0.25),
        ("1.5e300", 1.5e300),
        ("12:30", "12:30"),
        ("1.2.3", "1.2.3"),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("<<", "<<"),
        ("=", "="),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\/"', "/"),
    ],
    ids=str,
)
def test_a_scalar_means_what_kubectl_takes_it_for(written: str, value: object) -> None:
    document = one(f"a: {written}")
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@pytest.mark.parametrize(("written", "value"), [(".inf", "inf"), ("-.INF", "-inf"), (".nan", "nan")])
def test_numbers_without_end_are_read_so_that_the_model_can_refuse_them(written: str, value: str) -> None:
    assert str(one(f"a: {written}").value["a"]) == value


@pytest.mark.parametrize(
    ("written", "key"), [("y", "true"), ("off", "false"), ("1", "1"), ("0x10", "16"), ("1.5", "1.5"), ("'on'", "on")]
)
def test_a_key_is_text_as_json_spells_it(written: str, key: str) -> None:
    document = one(f"{written}: 1")
    assert document.value == {key: 1}
    assert document.lines[(key,)] == 1


@pytest.mark.parametrize("written", ["null", "~", "[a]", "{a: b}"])
def test_a_key_that_is_no_text_is_refused(written: str) -> None:
    assert problem(f"a:\n  ? {written}\n  : 1\n") == "line 2: a: has a key that is no text"


# Where things are


def test_every_value_knows_its_line() -> None:
    text = "# first\na: 1\nb:\n  - x\n  - c: 2\n    d: [3,\n      4]\n"
    assert one(text).lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 5,
        ("b", 1, "c"): 5,
        ("b", 1, "d"): 6,
        ("b", 1, "d", 0): 6,
        ("b", 1, "d", 1): 7,
    }


def test_lines_count_through_the_documents_of_a_file_and_windows_line_ends() -> None:
    documents, problems = parse("a: 1\r\n---\r\nb: 2\r\n---\r\n---\r\n\r\nc: 3\r\n")
    assert not problems
    assert [(document.value, document.lines[()]) for document in documents] == [
        ({"a": 1}, 1),
        ({"b": 2}, 3),
        ({"c": 3}, 7),
    ]


def test_aliases_and_merges_keep_the_lines_where_things_were_written() -> None:
    text = "base: &base\n  a: 1\n  b: 2\nother: &other {c: 9, b: 9}\n"
    text += "merged:\n  b: 3\n  <<: [*base, *other]\nalias: *base\n"
    document = one(text)
    assert document.value["merged"] == {"a": 1, "b": 3, "c": 9}
    assert document.value["alias"] == {"a": 1, "b": 2}
    assert document.lines[("merged", "a")] == 2
    assert document.lines[("merged", "b")] == 6
    assert document.lines[("merged", "c")] == 4
    assert document.lines[("alias",)] == 8
    assert document.lines[("alias", "b")] == 3


def test_a_mapping_that_was_merged_in_may_merge_itself() -> None:
    text = "a: &a {u: 1, v: 1}\nb: &b {<<: *a, v: 2}\nc: {<<: *b, w: 3}\n"
    assert one(text).value["c"] == {"u": 1, "v": 2, "w": 3}


def test_a_key_written_twice_is_reported_with_the_line_of_the_second() -> None:
    assert problem("a:\n  b: 1\n  c: 2\n  b: 3\n") == "line 4: a.b: is written twice (keep one)"
    assert problem("y: 1\ntrue: 2\n") == "line 2: true: is written twice (keep one)"


def test_a_key_written_twice_is_reported_once_however_often_it_is_merged() -> None:
    assert problem("a: &a {u: 1, u: 2}\nb: {<<: *a}\nc: {<<: *a}\n") == "line 1: a.u: is written twice (keep one)"


def test_each_key_written_twice_is_reported() -> None:
    _, problems = parse("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [found.path for found in problems] == ["a", "b.c"]


# JSON


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_too_tabs_and_escapes_included(indent: int | str | None) -> None:
    value = {"a": [1, 2.5, 1e-05, True, None], "b": {"c": 'tab\t, quote", Ünïcode \U0001f600'}}
    for ascii_only in (True, False):
        assert one(json.dumps(value, indent=indent, ensure_ascii=ascii_only)).value == value


def test_problems_of_json_have_lines() -> None:
    assert one('{\n\t"a": {\n\t\t"b": 1\n\t}\n}').lines[("a", "b")] == 3


def test_json_is_refused_with_lines_too() -> None:
    with pytest.raises(SpecError, match='line 3: kind: "BenchmarkJo" is not allowed here'):
        parse_jobs('{\n"apiVersion": "velodrome.dev/v1alpha1",\n"kind": "BenchmarkJo"\n}')
    with pytest.raises(SpecError, match="line 2: a: is written twice"):
        parse_jobs('{"a": 1,\n"a": 2}')
    (job,) = parse_jobs(JOB)
    twice = job.model_dump_json().replace('"suspend":false', '"suspend":false,\n"suspend":false')
    with pytest.raises(SpecError, match=r"1 problem\n  line 2: spec\.suspend: is written twice"):
        parse_jobs(twice)


# What can't be read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3", "line 2: YAML: a flow sequence that begins in line 1 is not closed"),
        ("a:\n\tb: 1", "line 2: YAML: a tab can't stand here"),
        ("a: b: c", "line 1: YAML: a second ': ' can't stand in one line"),
        ("a: *nobody", "line 1: YAML: found undefined alias 'nobody'"),
        ("a: 'open", "line 1: YAML: found unexpected end of stream"),
        ("a: 1\nb: \x00", "line 2: YAML: character U+0000 is not allowed"),
        ("a: !!set {b}", "line 1: a: JSON has no form for set"),
        ("a: !!timestamp 2026-01-01", "line 1: a: JSON has no form for timestamp"),
        ("a: !own b", "line 1: a: JSON has no form for !own"),
        ("a: !!python/name:os.system", "line 1: a: JSON has no form for python/name:os.system"),
        ("a: !!int twelve", "line 1: a: 'twelve' can't be read"),
        ('a: "\\ud83d"', "line 1: a: '\\ud83d' can't be read"),
        (f"a: {'9' * 5000}", f"line 1: a: '{'9' * 60}' can't be read"),
        ("%YAML 3.0\n---\na: 1", "line 1: YAML: found incompatible YAML document (version 1.* is required)"),
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_cannot_be_read_says_where_and_why(text: str, message: str) -> None:
    assert problem(text).startswith(message)


def test_what_was_read_before_an_error_is_kept() -> None:
    documents, (found,) = parse("a: 1\n---\nb: [\n")
    assert [document.value for document in documents] == [{"a": 1}]
    assert found.line is not None


# Text that is meant to do harm


def test_a_billion_laughs_are_not_unfolded() -> None:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert f"holds more than {MOST_VALUES:,} values once its aliases are unfolded" in problem("\n".join(lines))


def test_a_billion_merges_are_not_unfolded() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert f"holds more than {MOST_VALUES:,} values once its aliases are unfolded" in problem("\n".join(lines))


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}"])
def test_an_alias_of_itself_is_refused(text: str) -> None:
    assert problem(text)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 3000, 100_000])
@pytest.mark.parametrize("open_", ["[", "{a: "])
def test_deep_nesting_is_refused(depth: int, open_: str) -> None:
    close = {"[": "]", "{a: ": "}"}[open_]
    assert f"is nested more than {DEEPEST} levels deep" in problem(f"a: {open_ * depth}1{close * depth}")


def test_nesting_that_is_deep_enough_is_read() -> None:
    value: Any = one(f"a: {'[' * 60}1{']' * 60}").value["a"]
    for _ in range(60):
        (value,) = value
    assert value == 1


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: holds no BenchmarkJob"),
        (b"# nothing\n---\n---\n", "file: holds no BenchmarkJob"),
        (b"a: 1\nb: \xff\xfe", "line 2: file: is not UTF-8 text: invalid start byte (save it as UTF-8)"),
        (JOB.encode("utf-16"), "line 1: file: is not UTF-8 text"),
        (JOB.encode() + b"#" * 4 * 1024**2, "file: is larger than 4 MiB"),
        (b"just words", 'line 1: document: must be a mapping, not "just words"'),
        (b"[1, 2]", "line 1: document: must be a mapping, not [1, 2]"),
    ],
    ids=["empty", "comments", "latin", "utf-16", "large", "words", "list"],
)
def test_a_file_that_is_no_job_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_jobs(path)
    assert str(caught.value).startswith(f"{path}: 1 problem\n  {message}")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="file: can't be read: No such file or directory"):
        read_jobs(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="file: can't be read: Is a directory"):
        read_jobs(tmp_path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(JOB, encoding="utf-8-sig")
    assert read_jobs(path)[0].metadata.name == "race"


def test_several_jobs_of_one_file_come_in_its_order() -> None:
    jobs = parse_jobs("---\n".join(JOB.replace("race", name) for name in ("second", "first", "third")))
    assert [job.metadata.name for job in jobs] == ["second", "first", "third"]


def test_two_namespaces_may_have_a_job_of_one_name() -> None:
    other = JOB.replace("{name: race}", "{name: race, namespace: team}")
    assert [job.namespace for job in parse_jobs(f"{JOB}---\n{other}")] == ["default", "team"]
