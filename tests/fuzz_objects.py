"""DICOM files with changed bytes or tags through the writers of SEG and SR."""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import pydicom
from conftest import DarkIsLesion
from fuzz_layouts import Random
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from scanner_files import SECRET, SOURCES

from keras_efsnet import cli
from keras_efsnet.images.dicom import muted
from keras_efsnet.images.reading import read_image
from keras_efsnet.prediction import loading
from keras_efsnet.prediction.writing import read_records

RUBBISH = (
    *(b"", b"\0", b"\0\0", b" ", b"-1 ", b"0 ", b"1\\2 ", b"\xff" * 4, b"\x1b$)C=^"),
    *(b"1.2.3.", b"2.25.0 ", b"20240230", b"99", b"NaN ", b"9" * 70, b"\xc3\x28"),
    SECRET.encode(),
    SECRET.encode() * 200,
)
VRS = ("AE", "CS", "DA", "DS", "IS", "LO", "PN", "SH", "SQ", "TM", "UI", "UL", "US")


@cache
def content_of(name: str) -> bytes:
    file = io.BytesIO()
    SOURCES[name]().save_as(file, enforce_file_format=True)
    return file.getvalue()


def fuzz_objects(
    data: st.DataObject,
    folder: Path,
    stderr_to: Callable[[int], AbstractContextManager],
) -> str:
    """Answers with whole objects, or refuses in one line without a tag's text."""
    random = Random(data)
    content = content_of(random.pick(*SOURCES))
    change = random.pick(_change_bytes, _change_tags, _change_tags)
    file, out = folder / "a.dcm", folder / "out"
    file.write_bytes(change(random, content))
    loading.load_predictor = lambda *_: DarkIsLesion()
    formats = ["--format=dicom-seg", "--format=dicom-sr"]
    printed = io.StringIO()
    with TemporaryFile() as stderr:
        with redirect_stdout(printed), stderr_to(stderr.fileno()):
            code = cli.main(["predict", str(file), "--out", str(out), *formats])
        stderr.seek(0)
        errors = stderr.read().decode()
    assert code in (0, 1, 2), code
    assert (errors == "") == (code == 0), errors
    for line in errors.splitlines():
        assert line.startswith("error: ") and "a.dcm" in line, errors
    assert SECRET not in errors + printed.getvalue(), errors
    with muted():
        return _check_objects(out, code)


def _change_bytes(random: Random, content: bytes) -> bytes:
    """Up to three changes, most of them in front of the pixels."""
    result = bytearray(content)
    for _ in range(random.integers(1, 4)):
        last = len(result) if random.pick(True, False, False) else 2000
        place = int(random.integers(132, min(last, len(result))))
        new = random.pick(*RUBBISH)[:8]
        match random.pick("write", "write", "insert", "cut"):
            case "write":
                result[place : place + len(new)] = new
            case "insert":
                result[place:place] = new
            case "cut" if random.pick(True, False, False):
                del result[place:]
    return bytes(result)


def _change_tags(random: Random, content: bytes) -> bytes:
    """Up to three tags with rubbish, some of them under another VR."""
    made = pydicom.dcmread(io.BytesIO(content))
    tags = [tag for tag in made.keys() if tag >> 16 != 0x7FE0]  # noqa: SIM118
    for _ in range(random.integers(1, 4)):
        tag = random.pick(*tags)
        if random.pick(False, False, False, True):
            made.pop(tag, None)
            continue
        value = random.pick(*RUBBISH)
        value += b" " * (len(value) % 2)
        vr = random.pick(
            made.get_item(tag).VR if tag in made else "LO", random.pick(*VRS)
        )
        little, implicit = True, False
        raw = RawDataElement(tag, vr, len(value), value, 0, implicit, little)
        made._dict[tag] = raw
    file = io.BytesIO()
    try:
        with muted():
            made.save_as(file)
    except Exception:  # pydicom reads what it writes, if the VR depends on others
        return _change_bytes(random, content)
    return file.getvalue()


def _check_objects(out: Path, code: int) -> str:
    """The objects are whole, and those that predictions.json names."""
    records = [record for record in read_records(out) if "error" not in record]
    named = {
        record[key]
        for record in records
        for key in ("seg_file", "sr_file")
        if key in record
    }
    found = {file.relative_to(out).as_posix() for file in out.rglob("*.dcm")}
    assert found == named
    assert not list(out.rglob(".*"))
    if not found:
        assert code
        return "refused"
    assert "a_sr.dcm" in found
    assert ("a_seg.dcm" in found) == any(record["boxes"] for record in records)
    assert pydicom.dcmread(out / "a_sr.dcm").ContentSequence
    if "a_seg.dcm" in found:
        pixels = pydicom.dcmread(out / "a_seg.dcm").pixel_array
        masks = [read_image(out / record["mask_file"]) > 0 for record in records]
        assert pixels.sum() == sum(mask.sum() for mask in masks)
    return "written"
