"""Choosing the files to predict and the names of their outputs."""

import logging
import os
import shlex
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from pathlib import Path

from keras_efsnet.files import describe_error
from keras_efsnet.images import dicom
from keras_efsnet.images.mask_names import is_mask_folder, is_mask_name
from keras_efsnet.images.reading import SUFFIXES
from keras_efsnet.prediction.writing import RECORDS_NAME

_LOGGER = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv")

LONGEST_STEM = 200
"""Largest length of an output's stem in bytes; file systems allow names of 255."""


@dataclass(frozen=True)
class Job:
    """One input file and its outputs.

    Attributes:
        source: the input path.
        target: the outputs' path, without `_mask.png` or `_overlay.png`.
        problem: why `source` cannot be read, or "".
        taken: lower-case names of other outputs that a frame of this file must avoid.
    """

    source: Path
    target: Path
    problem: str = ""
    taken: frozenset[str] = frozenset()

    def frame_target(self, number: int | None, count: int) -> Path:
        """Returns a frame's output path, with `_frame<number>` if there are several."""
        if number is None or count == 1:
            return self.target
        name = f"{self.target.name}_frame{number:0{len(str(count))}}"
        return self.target.with_name(_first_free(name, self.taken))


def plan_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """Lists the images in files and folders and gives each a unique output name.

    Folders are searched recursively, and the output folder mirrors them. Links to
    folders are followed, and each folder is searched once. Hidden files, files without
    an image suffix, and masks by their names or folders (see `images.mask_names`) are
    left out; the log says how many masks. A folder of earlier results is a problem, as
    its overlays are no scans. Duplicate output names get `_2`, `_3`, and so
    on; long names are cut.

    Args:
        inputs: image files and folders.
        out: the output folder; need not exist.

    Raises:
        ValueError: an output would lie in a folder that inputs are read from, or all
            files are masks by their names.
    """
    found: dict[Path, Job] = {}
    for path in inputs:
        for job in _find(path, out):
            found.setdefault(_real(job.source), job)
    jobs = _without_masks(list(found.values()), inputs)
    _refuse_output_beside_input(jobs)
    return _with_taken(_with_unique_targets(jobs))


def _find(path: Path, out: Path) -> Iterator[Job]:
    if not os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        yield Job(path, out / path.stem, _problem(path))
        return
    endings = (*SUFFIXES, *dicom.SUFFIXES)
    problems: list[Job] = []
    files = [
        file
        for file in _walk(path, out, problems)
        if not file.name.startswith(".")
        and (file.suffix.lower() in endings or _is_broken_folder_link(file))
    ]
    for file in sorted(files):
        target = out / file.relative_to(path).with_suffix("")
        yield Job(file, target, _problem(file))
    yield from problems
    if not files and not problems:
        yield Job(path, out, f"{path}: no image in this folder ({', '.join(endings)})")


def _walk(path: Path, out: Path, problems: list[Job]) -> Iterator[Path]:
    """Yields the files of a folder, then those of the folders that links lead to.

    Each real folder is searched once, under its own path if that is in `path`.

    Args:
        path: the folder.
        out: the output folder.
        problems: receives folders that cannot be read, or hold earlier results.

    Raises:
        ValueError: `out` lies in one of these folders.
    """

    def report(error: OSError) -> None:
        problems.append(Job(Path(error.filename), out, describe_error(error)))

    _refuse_output_in(path, out)
    seen: set[Path] = set()
    waiting = [path]
    for start in waiting:
        for folder, names, files in os.walk(start, onerror=report):
            if _real(Path(folder)) in seen:
                names.clear()
                continue
            seen.add(_real(Path(folder)))
            if RECORDS_NAME in files:
                names.clear()
                problem = f"{folder}: earlier results ({RECORDS_NAME}); give the scans"
                problems.append(Job(Path(folder), out, problem))
                continue
            yield from (Path(folder, name) for name in files)
            links = [Path(folder, name) for name in sorted(names)]
            waiting.extend(link for link in links if _is_followed(link, path, out))


def _is_followed(folder: Path, path: Path, out: Path) -> bool:
    """Says whether a folder below `path` is a link whose folder is searched too."""
    if not folder.is_symlink():
        return False
    if _real(path).is_relative_to(_real(folder)):
        if _real(path) != _real(folder):
            _LOGGER.info(
                "%s: not followed, as it leads to a folder above %s", folder, path
            )
        return False
    _refuse_output_in(folder, out)
    return True


def _refuse_output_in(folder: Path, out: Path) -> None:
    if _real(out).is_relative_to(_real(folder)):
        where = (
            f"{folder}, a link to {_real(folder)}" if folder.is_symlink() else folder
        )
        raise ValueError(
            f"{out}: lies inside the input {where}; choose another output folder."
        )


def _is_broken_folder_link(path: Path) -> bool:
    """Says whether a path is a link that may lead to a folder, which is not there.

    Folders have names such as `2026.11.28` and `1.2.840.113619`; letters end a file's.
    """
    is_file = path.suffix[1:].isalpha()
    return not is_file and path.is_symlink() and not os.path.exists(path)


def _problem(path: Path) -> str:
    """Why a path cannot be opened, or ""."""
    try:
        path.stat()
    except FileNotFoundError:
        what = "a link to a file that is not there" if path.is_symlink() else ""
        return f"{path}: {what or 'no such file or folder'}"
    except OSError as error:
        return describe_error(error)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return f"{path}: a video; predict it by: efsnet stream {shlex.quote(str(path))}"
    return ""


def _real(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, it accepts a loop of links."""
    return Path(os.path.realpath(path))


def _without_masks(jobs: Sequence[Job], inputs: Sequence[Path]) -> list[Job]:
    holds_masks = cache(is_mask_folder)

    def is_mask(file: Path) -> bool:
        below = takewhile(lambda path: path not in inputs, (file, *file.parents))
        return is_mask_name(file) or any(map(holds_masks, below))

    kept = [job for job in jobs if job.problem or not is_mask(job.source)]
    if jobs and not kept:
        raise ValueError(
            f"{jobs[0].source}: a mask by its name, and no other image is given; "
            "rename it to predict it."
        )
    if len(kept) < len(jobs):
        left_out = len(jobs) - len(kept)
        _LOGGER.info("%d left out: masks by their names or folders", left_out)
    return kept


def _refuse_output_beside_input(jobs: Sequence[Job]) -> None:
    read_from = {_real(job.source).parent for job in jobs}
    for job in jobs:
        if not job.problem and _real(job.target).parent in read_from:
            raise ValueError(
                f"{job.target.parent}: holds input images, whose masks could be "
                "overwritten; choose another output folder."
            )


def _with_unique_targets(jobs: Sequence[Job]) -> list[Job]:
    # On some file systems `A.png` and `a.png` are the same file.
    taken: dict[str, set[str]] = {}
    result = []
    for job in jobs:
        names = taken.setdefault(str(job.target.parent).casefold(), set())
        name = _first_free(_shorten(job.target.name), names)
        names.add(name.casefold())
        result.append(replace(job, target=job.target.with_name(name)))
    return result


def _with_taken(jobs: Sequence[Job]) -> list[Job]:
    """Gives each job the other outputs' names that look like its own frames."""
    like_frames: dict[str, set[str]] = {}
    for job in jobs:
        stem, is_frame, _ = str(job.target).casefold().rpartition("_frame")
        if is_frame:
            like_frames.setdefault(stem, set()).add(job.target.name.casefold())
    return [
        replace(job, taken=frozenset(like_frames.get(str(job.target).casefold(), ())))
        for job in jobs
    ]


def _first_free(name: str, taken: Set[str]) -> str:
    """The name, with `_2`, `_3`, and so on if it is taken."""
    count, free = 1, name
    while free.casefold() in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _shorten(name: str) -> str:
    name_bytes = os.fsencode(name)
    if len(name_bytes) <= LONGEST_STEM:
        return name
    return name_bytes[:LONGEST_STEM].decode(errors="ignore")
