"""Does every row of the GPU benchmark with small models in this one process, and prints each one's figures as JSON.

    python -m tests.benchmarks.every_row FOLDER

What a bare GPU machine lacks cannot be imported here either.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LACKING = ("gradio", "dadaptation", "playwright", "starlette", "uvicorn", "importlinter")


class Refusing:
    def find_spec(self, name: str, *more: Any) -> None:
        if name.partition(".")[0] in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}, as on a bare machine", name=name)


def main(folder: Path) -> None:
    sys.meta_path.insert(0, Refusing())
    from benchmarks.gpu_rows import ROWS
    from benchmarks.gpu_work import prepared

    for number, row in enumerate(ROWS):
        figures: dict[str, Any] = {}
        prepared(row, folder / str(number), "cpu", True, figures.update)(300.0)
        print(json.dumps({"row": row.name, "figures": figures}), file=sys.__stderr__, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
