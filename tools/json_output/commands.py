"""What each command writes with `--json`."""

from __future__ import annotations

from typing import Final

from tools.json_output.objects import IMPORTED, TRIAL
from tools.json_output.types import Fields, Output, Shape

_EVENT: Final[Fields] = {"at": ("time", "when it happened"), "event": ("text", "which event it is")}
_MARKED: Final[Fields] = {
    "board": ("text", "the board"),
    "entry": ("text", "the entry"),
}
_OF_JOB: Final[Fields] = {"job": ("text", "the job"), "job_uid": ("text", "its uid")}
_HIDDEN: Final[Fields] = {
    **_MARKED,
    **_OF_JOB,
    "index": ("count", "the number of the trial"),
    "seed": ("count", "its seed"),
    "hidden": ("flag", "false after `unhide`"),
    "reason": ("text", "why it was hidden"),
}
_BOARD: Final[Fields] = {"board": ("text", "the board"), "objectives": ("list of Objective", "its objectives")}
_DATA: Final[Fields] = {
    "job": ("text", "the job"),
    "kind": ("text", "`images`, `sequences`, `table`, `text`, `documents`, `scenes` or `masks`"),
    "shape": ("list of count or null", "the shape of a sample"),
    "classes": ("list of text or null", "the classes; null for a number"),
    "tokens": ("count", "how many tokens a text has to choose from; 0 for other data"),
    "columns": ("text by name", "what is known of a table's columns"),
    "splits": ("count by name", "the samples of each split"),
    "validation": ("count", "the samples of the training split that validate"),
    "bytes": ("count", "how many bytes the data take in memory"),
    "shared": ("count or null", "test samples of texts with labels that train too; null if none was found"),
    "digest": ("text", "the digest of the data"),
    "reading": ("text or null", "how samples are read, where not from memory"),
    "manifest": ("text or null", "the file with the sizes and digests of a folder"),
}
_DATA_WRONG: Final[Fields] = {
    "job": ("text", "the job"),
    "reason": ("text", "what is wrong with its data, in one word"),
    "message": ("text", "what is wrong, and what to do"),
}

_SEES: Final = "what these seeds can tell apart: `power`, `seeds`, `looks`, `trials`, `gap`, `history`, `objectives`"
_NOISE: Final = (
    "for each objective: `name`, `metric`, `unit`, `direction`, `scale`, `cohort`, the spreads `over_seeds` and "
    "`between_jobs`, the comparisons `in_job` and `job_to_job`, `alpha`, `regression_alpha`, the `smallest` visible "
    "changes, `least`, `left_out` and `sentences`"
)
_RUN: Final = (
    Shape({**_EVENT, "job": ("text", "the job"), "uid": ("text", "its uid"), "trials": ("count", "all trials"),
           "remaining": ("count", "those that are still to run")}, "`opened`", lines=True),
    Shape({**_EVENT, "round": ("count", "its number"), "trials": ("count", "all trials"),
           "remaining": ("count", "those that are still to run"),
           "undecided": ("list of text", "entries that more seeds can tell apart"),
           "stopped": ("object", "why other entries get no more seeds")}, "`round`", lines=True),
    Shape({**_EVENT, **TRIAL, "log": ("text", "the file of its log"), "pid": ("count", "its process")},
          "`started`", lines=True),
    Shape({**_EVENT, **TRIAL, "attempt": ("text", "which attempt it is"), "phase": ("text", "what it does"),
           "at": ("time", "when the runner said so"), "epoch": ("count", "epochs done"),
           "epochs": ("count", "epochs at most"), "fraction": ("number", "of the training that is done"),
           "loss": ("number or null", "of the newest batches"),
           "samples_per_second": ("number or null", "while it trains")}, "`progress`", lines=True),
    Shape({**_EVENT, **TRIAL, "outcome": ("text", "`Succeeded` or `Failed`"),
           "reason": ("text or null", "why it failed, in one word"), "message": ("text or null", "why it failed"),
           "metrics": ("number by name", "its values by metric key"),
           "search?": ("any", "what it means for a search"), "done": ("count", "trials that are finished"),
           "trials": ("count", "all trials")}, "`finished`", lines=True),
    Shape({**_EVENT, **TRIAL}, "`withdrawn`: it has to run again", lines=True),
    Shape({**_EVENT, "why": ("text", "what the race waits for")}, "`waiting`", lines=True),
    Shape(_EVENT, "`resumed`", lines=True),
    Shape({**_EVENT, "text": ("text", "what a person should know")}, "`note`", lines=True),
    Shape({**_EVENT, "job": ("text", "the job"), "uid": ("text", "its uid"),
           "halt": ("text or null", "`interrupted` or `maxFailed`, if it ended early"),
           "succeeded": ("count", "trials"), "failed": ("count", "trials"),
           "missing": ("count", "trials without a result")},
          "`ended`", lines=True),
    Shape({**_EVENT, **_BOARD}, "`rankings`: the board as it is now", lines=True),
)  # fmt: skip

COMMANDS: Final[dict[str, Output]] = {
    "init": Output((
        Shape({"file": ("text or null", "the file that was written; null for `-`"),
               "facts": ("list of text", "what was found in the data"), "text": ("text", "the file's text")}),
        Shape({"templates": ("text by name", "what each template is for")}, "`--list`"),
    )),
    "example": Output((
        Shape({"examples": ("text by name", "what each example shows")}),
        Shape({"example": ("text", "its name"), "texts": ("text by name", "the text of each file")}, "NAME"),
        Shape({"example": ("text", "its name"), "files": ("list of text", "the files that were written")},
              "NAME `--to`"),
    )),
    "schema": Output((Shape({"json_schema": ("object", "the JSON schema of a BenchmarkJob")}),)),
    "run": Output(_RUN, "An interrupted race ends without `rankings`."),
    "validate": Output((Shape({
        "file": ("text", "the file"), "valid": ("flag", "whether it has no problem"),
        "jobs": ("list of PlannedJob", "its jobs"), "problems": ("list of Problem", "all that is wrong"),
    }, lines=True),)),
    "plan": Output((Shape({
        "job": ("text", "the job"), "board": ("text", "its board"),
        "entries": ("object by name", "each entry, with the defaults filled in"),
        "trials": ("list of PlannedTrial", "its trials in order"),
        "sees": ("object", _SEES),
    }, lines=True),)),
    "check": Output((Shape({"jobs": ("list of Check by name", "the checks of each job; none without `--cluster`")}),)),
    "pin": Output((Shape({
        "file": ("text", "the file"), "written": ("text or null", "the file that was written"),
        "images": ("list of Image", "the images that were asked about"),
        "text": ("text or null", "the new text, if it goes to standard output"),
    }),)),
    "results": Output((
        Shape(_BOARD),
        Shape({"board": ("text", "the board"),
               "cohorts": ("list of Conditions by name", "the conditions that each objective has values for")},
              "`--cohorts`"),
    )),
    "pairs": Output((Shape({
        "board": ("text", "the board"), "measure": ("text", "`accuracy`, `loss`, `mae` or `mse`"),
        "a": ("Side", "the one entry"), "b": ("Side", "the other one"), "samples": ("count", "test samples"),
        "groups": ("count or null", "groups of samples"), "paired_seeds": ("flag", "whether both had the same seeds"),
        "answers": ("list of Answer", "the three questions"), "lost": ("list of Sample", "what B loses that A has"),
        "gained": ("list of Sample", "what B has that A loses"), "equal": ("count", "samples without a difference"),
        "classes": ("list of ClassRow", "the same by class"),
    }),)),
    "show": Output((Shape({
        **_OF_JOB, "index": ("count", "the number of the trial"),
        "record": ("object or null", "the result with its configuration, times and machine, as `export` writes it"),
        "curves": ("list of object", "a point for each epoch"),
        "conflicts": ("list of object", "other results of this trial, which are never ranked"),
        "hidden": ("object or null", "the mark of a hidden run"),
    }),)),
    "regressions": Output((Shape({
        **_OF_JOB, "comparisons": ("list of Comparison", "one for each entry and objective"),
    }),)),
    "ack": Output((Shape({
        **_MARKED, "metric_keys": ("list of text", "the metrics whose change is meant"), **_OF_JOB,
        "accepted": ("flag", "false after `--undo`"),
    }),)),
    "compare": Output((Shape({
        "board": ("text", "the board"), "entries": ("list of Compared", "the entries that are compared"),
        "objectives": ("list of object", "for each objective: `name`, `metric`, `unit`, the `means`, and the `pairs`"),
        "differing_parameters": ("list of text", "parameters that are not the same in all"),
        "differing_environments": ("any", "facts of the machines that are not the same in all"),
    }),)),
    "search": Output((Shape({
        **_OF_JOB, "objectives": ("list of text", "metric keys"), "directions": ("list of text", "`higher` or `lower`"),
        "max_trials": ("count", "search trials of an entry, at most"), "over": ("flag", "whether the search is over"),
        "entries": ("list of object", "each entry's search, with values in the metric's unit"),
    }),)),
    "report": Output((Shape({
        "board": ("text", "the board"), "file": ("text", "the file"), "bytes": ("count", "its size"),
    }),)),
    "hide": Output((Shape(_HIDDEN),)),
    "unhide": Output((Shape(_HIDDEN),)),
    "marks": Output((Shape({"deeds": ("list of Deed", "what people did, newest first")}),)),
    "noise": Output((Shape({
        "board": ("text", "the board"),
        "objectives": ("list of object", _NOISE),
    }),)),
    "profile": Output((Shape({
        "model": ("text", "the model"), "declaration": ("object", "the boards and the score, as declared"),
        "metric": ("text or null", "the metric key"), "score": ("text", "how values become scores"),
        "complete": ("flag", "whether every board has values"), "boards": ("any", "the boards that count"),
        "missing": ("text by name", "why other boards don't count"), "levels": ("list of number", "of the profile"),
        "entries": ("list of object", "each entry with its scores"), "left_out": ("any", "entries that lack boards"),
        "more": ("any", "how many more there are"), "sentences": ("list of text", "all of this in words"),
    }),)),
    "jobs": Output((Shape({"jobs": ("list of Job", "the jobs, newest first")}),)),
    "leaderboard": Output((Shape({"url": ("text", "where it is")}, lines=True),),
                          "The command then goes on until Ctrl-C."),
    "export": Output(
        (Shape({"file": ("text", "the file"), "lines": ("count", "the lines that were written")}, "FILE"),
         Shape({"optuna": ("text", "the file"), "job": ("text", "the job"), "trials": ("count", "search trials")},
               "`--optuna`"),
         Shape({"mlflow": ("text", "where it went"), "experiments": ("list of text", "of MLflow"),
                "artifacts": ("list of text", "where MLflow keeps the files of each experiment"),
                "added": ("count", "runs"), "completed": ("count", "runs"), "already_there": ("count", "runs"),
                "deleted": ("count", "runs that were deleted in MLflow and left so")}, "`--mlflow`")),
        "Without a FILE, standard output has the exported lines alone. They are JSON, have a version of their own, and "
        "are what `velodrome import` reads.",
    ),
    "import": Output((Shape({"file": ("text", "the file"), **IMPORTED}),)),
    "backup": Output((Shape({
        "place": ("text", "the folder or the bucket"), "backup": ("text", "the name of the new backup"),
        "jobs": ("count", "its jobs"), "results": ("count", "its results"), "bytes": ("count", "its size"),
        "removed": ("list of text", "older backups that were removed"),
        "left_out": ("count", "items that can't be read, so that the backup lacks them"),
    }),)),
    "restore": Output((
        Shape({"backup": ("text", "its name"), **IMPORTED}),
        Shape({"place": ("text", "the folder or the bucket"), "backups": ("list of Backup", "all backups")},
              "`--list`"),
    )),
    "get": Output((Shape({"jobs": ("list of object", "BenchmarkJobs as the cluster has them")}),)),
    "status": Output((Shape({"job": ("object", "the BenchmarkJob as the cluster has it")}),),
                     "With `--watch`, a line for each look."),
    "logs": Output((Shape({
        "entry": ("text", "the entry"), "repeat": ("count", "the repeat"), "seed": ("count", "the seed"),
        "pod": ("text", "the pod"), "phase": ("text", "its phase"), "text": ("text", "a line of its log"),
    }, lines=True), Shape({
        "run": ("count", "the run of the race"), "lane": ("text", "the lane of the search"),
        "turn": ("count", "the turn in it"), "entry": ("text or null", "the entry, once its log says it"),
        "trial": ("count or null", "the number of the search trial, then too"), "pod": ("text", "the pod"),
        "phase": ("text", "its phase"), "text": ("text", "a line of its log"),
    }, "`--search`", lines=True))),
    "wait": Output((Shape({
        "name": ("text", "the BenchmarkJob"), "state": ("text", "its state when waiting ended"),
        "message": ("text", "its message"), "awaited": ("text", "the state that was waited for"),
        "came": ("flag", "whether it came"), "timed_out": ("flag", "whether the time was over"),
    }),)),
    "delete": Output((
        Shape({"deleted": ("text", "`job`, `entry` or `board`"), "board": ("text", "the board"),
               "job_uid": ("text or null", "the job"), "entry": ("text or null", "the entry"),
               "jobs": ("count", "jobs that lost results"), "results": ("count", "results that were deleted"),
               "marks": ("list of object", "pins and acceptances that went with them"),
               "bytes": ("count", "about how much memory is free now"),
               "export": ("text or null", "the file that has them")}, "results"),
        Shape({"deleted": ("text", "`race`"), "name": ("text", "the BenchmarkJob")}, "a race of a cluster"),
    ), "Nobody is asked: `--yes` is needed."),
    "prune": Output((Shape({
        "jobs": ("list of OldJob", "the jobs that are past the limits"),
        "deleted": ("flag", "whether they were deleted"), "export": ("text or null", "the file that has them"),
    }),), "Nobody is asked: `--yes` or `--dry-run` is needed."),
    "rotate": Output((Shape({"at": ("time", "when"), "step": ("text", "what was done")}, lines=True),)),
    "doctor": Output((Shape({"checks": ("list of Check", "all checks")}),)),
    "baseline set": Output((Shape({
        **_MARKED, "metric_key": ("text or null", "the metric; null for all"), **_OF_JOB,
    }),)),
    "baseline show": Output((Shape({"baselines": ("list of Pin", "all pins")}),)),
    "baseline clear": Output((Shape({**_MARKED, "forgotten": ("list of Pin", "the pins that are gone")}),)),
    "data list": Output((Shape({
        "datasets": ("text by name", "data sets that Velodrome knows"), "formats": ("text by name", "formats"),
        "kinds": ("text by name", "the kind of each"),
    }),)),
    "data check": Output((Shape(_DATA, "good data", lines=True), Shape(_DATA_WRONG, "bad data", lines=True))),
    "data prepare": Output((Shape(_DATA, "good data", lines=True), Shape(_DATA_WRONG, "bad data", lines=True))),
}  # fmt: skip
