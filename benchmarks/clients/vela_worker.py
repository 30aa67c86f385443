"""Arm's compiler: where it places the operators, and its estimates.

    python vela_worker.py FILE.tflite ACCELERATOR OUT

It writes `facts.json`: version, operators left on the CPU, milliseconds, KiB of SRAM.
"""

import csv
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    file, accelerator, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    program = Path(sys.executable).with_name("vela")
    options = ["--accelerator-config", accelerator, "--output-dir", out]
    command = [program, file, *options, "--show-cpu-operations"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    with next(out.glob("*_summary_*.csv")).open(newline="") as table:
        (row,) = csv.DictReader(table)
    facts = {
        "version": version("ethos-u-vela"),
        "on_cpu": [line for line in done.stdout.splitlines() if "CPU:" in line],
        "milliseconds": 1000 * float(row["inference_time"]),
        "sram_kib": float(row["sram_memory_used"]),
    }
    (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
