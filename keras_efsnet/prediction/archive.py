"""Resumable prediction of very large archives with Ray.

The images are split in order into shards of `SHARD`. A worker predicts a shard, then
writes its records to `predictions/<number>.json`; a shard with a file is done.
`predictions/run.json` identifies the run by its images and by the hashes of the model's
files, so that no other run continues in its folder.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from keras_efsnet.files import describe_error, write_text
from keras_efsnet.images.grey import SixteenBit
from keras_efsnet.images.reading import chosen_sixteen_bit, sixteen_bit_as
from keras_efsnet.models.presets import file_digest, list_files
from keras_efsnet.prediction.batch import predict_jobs
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.parallel import count_cores
from keras_efsnet.prediction.planning import Job
from keras_efsnet.prediction.writing import RECORDS_NAME, SHARDS_NAME, write_records

SHARD = 100
"""Images per shard. A resumed run may repeat up to one shard per worker."""

STORE_BYTES = 80 * 2**20
"""Size of Ray's object store, near its minimum, as only names pass through it."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DATA_LOG_LEVEL": "WARNING",
}
"""Read by Ray on import: no usage reports, and its servers, which can run code, answer
only this machine and this run."""


def run_sharded(
    jobs: Sequence[Job],
    out: Path,
    workers: int,
    model: str,
    threads: int | None = None,
    kind: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Predicts the images that are not done yet and yields all records.

    Records of finished shards come first. Records and files are those of
    `predict_jobs`.

    Args:
        jobs: from `plan_jobs`.
        out: the output folder; exists.
        workers: number of processes.
        model: see `load_predictor`.
        threads: see `load_predictor`.
        kind: see `load_predictor`.

    Raises:
        ValueError: Ray is not installed, or `out` holds another run.
        OSError: the disk is full.
    """
    rule = chosen_sixteen_bit()
    digests = [file_digest(file.read_bytes()) for file in list_files(model, kind)]
    run = {"model": digests, "inputs": _digest(jobs)}
    _check_run(out, {**run, "sixteen_bit": rule})
    shards = [jobs[first : first + SHARD] for first in range(0, len(jobs), SHARD)]
    done = {number for number in range(len(shards)) if _file(out, number).exists()}
    for number in sorted(done):
        yield from _read_shard(out, number)
    rows = [
        {"number": number, "jobs": shard}
        for number, shard in enumerate(shards)
        if number not in done
    ]
    if rows:
        at_a_time = max(count_cores() // workers, 1)
        arguments = (out, model, threads, kind, rule, at_a_time)
        for number in _run_on_ray(rows, workers, arguments):
            yield from _read_shard(out, number)


class _Worker:
    """Loads the network once and predicts shards, some images at a time."""

    def __init__(
        self,
        out: Path,
        model: str,
        threads: int | None = None,
        kind: str | None = None,
        rule: SixteenBit = "full",
        at_a_time: int = 1,
    ) -> None:
        self.out = out
        self.rule = rule
        self.at_a_time = at_a_time
        self.predictor = load_predictor(model, threads, kind)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        number = row["number"]
        try:
            with sixteen_bit_as(self.rule):
                results = predict_jobs(
                    row["jobs"], self.predictor, self.out, at_a_time=self.at_a_time
                )
                records = list(results)
            write_records(self.out / SHARDS_NAME, records, _file(self.out, number).name)
        except OSError as error:  # the disk is full
            return {"number": number, "problem": describe_error(error)}
        return {"number": number, "problem": ""}


def _run_on_ray(
    rows: list[dict[str, Any]], workers: int, arguments: tuple
) -> Iterator[int]:
    """Yields the shards' numbers as they finish."""
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray.data
    except ImportError as error:
        raise ValueError(
            f"--workers needs Ray ({error}); install it: "
            'pip install "keras-efsnet[scale]", or leave it out.'
        ) from error
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        logging_level="error",
        log_to_driver=False,
    )
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        shards = ray.data.from_items(rows, override_num_blocks=len(rows))
        results = shards.map(
            _Worker, fn_constructor_args=arguments, concurrency=workers, num_cpus=1
        )
        for result in results.iter_rows():
            if result["problem"]:
                raise OSError(result["problem"])
            yield int(result["number"])
    finally:
        ray.shutdown()


def _check_run(out: Path, run: dict[str, Any]) -> None:
    """Writes run.json, or checks that it describes this run."""
    if (out / RECORDS_NAME).exists():
        raise ValueError(
            f"{out}: holds a run without --workers ({RECORDS_NAME}); choose another "
            "output folder."
        )
    file = out / SHARDS_NAME / "run.json"
    text = json.dumps(run, indent=2) + "\n"
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        write_text(file, text)
    elif file.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{out}: holds a run of other images or another model, or one of their "
            "files has changed; give the same ones to resume it, or choose another "
            "output folder."
        )


def _digest(jobs: Sequence[Job]) -> str:
    """Hash of the images' names, sizes and times and of their outputs, in order."""
    facts = sha256()
    for job in jobs:
        state = None if job.problem else job.source.stat()
        version = state and (state.st_size, state.st_mtime_ns)
        text = repr((str(job.source), str(job.target), version))
        facts.update(text.encode(errors="replace"))
    return facts.hexdigest()


def _file(out: Path, number: int) -> Path:
    return out / SHARDS_NAME / f"{number:06}.json"


def _read_shard(out: Path, number: int) -> list[dict[str, Any]]:
    return json.loads(_file(out, number).read_text(encoding="utf-8"))
