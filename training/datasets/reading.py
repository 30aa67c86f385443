"""Reads datasets of every known layout, which their content tells apart."""

from collections.abc import Callable, Sequence
from pathlib import Path

from keras_efsnet.training.datasets import bus_uclm, busbra, busi, manifest
from keras_efsnet.training.datasets.sample import Sample, by_name

_Reader = Callable[[Path], list[Sample]]

_READERS: tuple[tuple[Callable[[Path], bool], _Reader], ...] = (
    (
        lambda folder: (folder / manifest.MANIFEST_NAME).is_file(),
        lambda folder: manifest.read_manifest(folder / manifest.MANIFEST_NAME),
    ),
    (busbra.is_busbra, busbra.read_busbra),
    (bus_uclm.is_bus_uclm, bus_uclm.read_bus_uclm),
    (busi.is_busi, busi.read_busi),
)
LAYOUTS = (busi.LAYOUT, busbra.LAYOUT, bus_uclm.LAYOUT, manifest.LAYOUT)


def read_dataset(path: str | Path) -> list[Sample]:
    """Lists the images of a dataset with their masks and what is known of them.

    Args:
        path: the folder of BUSI, BUS-BRA or BUS-UCLM as its authors publish it, or a
            manifest or the folder of one called manifest.csv.

    Returns:
        The samples in the dataset's own order.

    Raises:
        OSError: a file or folder is missing or may not be read.
        ValueError: the folder has none of these layouts, its files contradict each
            other, or two images share a name.

    Example:
        >>> from keras_efsnet.training.datasets import read_dataset
        >>> read_dataset("BUSBRA")[0].patient  # doctest: +SKIP
        '1'
    """
    samples = list_samples(path)
    by_name(samples)
    return samples


def list_samples(path: str | Path) -> list[Sample]:
    """Lists as `read_dataset` does, images that share a name too."""
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return manifest.read_manifest(path)
    reader = find_reader(path)
    if reader is None:
        raise ValueError(_unknown(path))
    return reader(path)


def read_datasets(paths: Sequence[str | Path]) -> list[Sample]:
    """Lists the images of several datasets one after the other.

    Raises:
        OSError, ValueError: as `read_dataset`; also, images of two datasets share a
            name.
    """
    samples = [sample for path in paths for sample in read_dataset(path)]
    by_name(samples)
    return samples


def find_reader(folder: Path) -> _Reader | None:
    """Gives the reader of a folder's layout, or None where it has none of them.

    Raises:
        OSError: there is no such folder, or it may not be read.
    """
    next(folder.iterdir(), None)  # Raises where there is no such folder.
    for fits, reader in _READERS:
        if fits(folder):
            return reader
    return None


def _unknown(folder: Path) -> str:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    fitting = [path for path in inside if find_reader(path) is not None]
    fix = (
        f"give {fitting[0]}"
        if fitting
        else "give the folder itself, or make a manifest with `efsnet data index`"
    )
    return f"{folder}: has the layout of none of {'; '.join(LAYOUTS)}. To fix: {fix}."
