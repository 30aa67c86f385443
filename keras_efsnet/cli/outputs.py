"""What a run of `efsnet predict` leaves beside masks and overlays.

These files are written at the end, also of a run that is stopped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from keras_efsnet.clinic import writing as clinic
from keras_efsnet.clinic.algorithm import describe_algorithm
from keras_efsnet.clinic.objects import KINDS
from keras_efsnet.files import write_text
from keras_efsnet.prediction import examinations, formats, page
from keras_efsnet.prediction.cine import write_cines
from keras_efsnet.prediction.grouping import GroupBy, group_jobs
from keras_efsnet.prediction.planning import Job
from keras_efsnet.prediction.predictor import LoadedPredictor
from keras_efsnet.prediction.writing import Record, write_records

RUN_NAME = "run.json"


@dataclass(frozen=True)
class Choice:
    """Which files a run writes.

    Attributes:
        formats: of `formats.WRITERS` and `clinic.objects.KINDS`.
        group_by: what makes an examination; None writes none.
        page: whether index.html is written.
        in_shards: the records are in the files of `archive.run_sharded`, so only
            examinations and run.json are written here.
    """

    formats: Sequence[str] = ()
    group_by: GroupBy | None = None
    page: bool = True
    in_shards: bool = False


class Outputs:
    """The files about all images of a run.

    Args:
        out: the output folder.
        jobs: from `plan_jobs`.
        choice: which files.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file cannot be written for these images, or is not ours.
    """

    def __init__(self, out: Path, jobs: Sequence[Job], choice: Choice) -> None:
        self._out, self._jobs, self._choice = out, jobs, choice
        self._tables = [name for name in choice.formats if name not in KINDS]
        self._objects = [name for name in choice.formats if name in KINDS]
        sources = [job.source for job in jobs]
        formats.check_sources(sources, self._tables)
        clinic.check_sources(sources, self._objects)
        self._has_page = choice.page and not choice.in_shards
        if self._has_page:
            page.check_place(out, "--no-page")
        by = choice.group_by
        self._examination_of = group_jobs(jobs, by) if by else {}
        self._records: list[Record] = []
        self._views: list[Record] = []
        self._images = 0

    @property
    def examinations(self) -> int:
        """Number of examinations."""
        return len({*self._examination_of.values()})

    def check_model(self, predictor: LoadedPredictor) -> None:
        """Raises ValueError if the files need more than the model gives."""
        clinic.check_rules(predictor.rules, self._objects)

    def add(self, record: Record) -> None:
        """Takes the next entry of predictions.json."""
        self._images += 1
        if not self._choice.in_shards:
            self._records.append(record)
        if self._choice.group_by:
            self._views.append(examinations.make_view(record))

    def write(
        self,
        predictor: LoadedPredictor,
        model: str,
        options: Mapping[str, Any],
        *,
        finished: bool,
    ) -> list[str]:
        """Writes the files.

        Args:
            predictor: what made the records.
            model: its name for people.
            options: of the run, for run.json.
            finished: False if the run was stopped.

        Returns:
            A line for each file without the DICOM objects that it should have.

        Raises:
            OSError: a file cannot be written.
        """
        problems = []
        if not self._choice.in_shards:
            problems = self._write_records(predictor, model)
        if self._images:
            self._write_examinations(finished)
            write_run(self._out, predictor, model, options, finished=finished)
        return problems

    def _write_records(self, predictor: LoadedPredictor, model: str) -> list[str]:
        out, records = self._out, self._records
        try:
            write_cines(out, records)
            problems = clinic.write_objects(
                out, self._jobs, records, describe_algorithm(predictor), self._objects
            )
        finally:
            written = write_records(out, records)
        formats.write_formats(out, records, self._tables)
        if self._has_page:
            refers, earlier = bool(predictor.rules.refer), len(written) - len(records)
            page.write_page(out, written, model, refers, earlier)
        else:
            page.remove_page(out)
        return problems

    def _write_examinations(self, finished: bool) -> None:
        if by := self._choice.group_by:
            found, views = self._examination_of, self._views
            examinations.write_examinations(
                self._out, by, found, views, finished=finished
            )
        else:
            examinations.remove_examinations(self._out)


def write_run(
    out: Path,
    predictor: LoadedPredictor,
    model: str,
    options: Mapping[str, Any],
    *,
    finished: bool,
) -> None:
    """Writes run.json: what made the results, with hashes and options.

    Raises:
        OSError: the file cannot be written.
    """
    algorithm = describe_algorithm(predictor)
    facts = {
        "keras_efsnet": algorithm.version,
        "model": model,
        **algorithm.parameters,
        "options": dict(options),
        "finished": finished,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_text(out / RUN_NAME, json.dumps(facts, indent=2) + "\n")
