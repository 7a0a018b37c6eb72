"""The files that a run has saved, as HTML: to be downloaded, or to be found by their path."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from engine.disk import amount
from engine.runs.events import Checkpoint
from engine.runs.folder import Status
from engine.runs.history import History
from engine.runs.listing import ENDED
from engine.settings.paths import MODEL_ENDINGS


def downloadable(history: History) -> list[Path]:
    """Saved files that a browser may be given: models, each in one file, and that by where links lead, too.

    What a run told may be damaged, or come from elsewhere with its folder, so it might name any file.
    """
    return [file for one in history.checkpoints if (file := _model_file(one))]


def files(history: History, status: Status) -> str:
    """The newest, with its folder; of a run that goes on also how many more there are."""
    if not history.checkpoints:
        return ""
    *earlier, newest = history.checkpoints
    more = f" and {len(earlier)} more" if earlier and status not in ENDED else ""
    folder = escape(str(Path(newest.file).parent))
    return f'<div class="files">Saved {_name(newest)}{more} in {folder} {_buttons(newest)}</div>'


def earlier_files(history: History) -> str:
    """All but the newest, the latest first, behind a fold."""
    earlier = history.checkpoints[-2::-1]
    lines = "".join(f"<li>{_name(one)} <small>step {one.step}</small> {_buttons(one)}</li>" for one in earlier)
    summary = f"<summary>{len(earlier)} saved earlier</summary>"
    return f'<details class="files">{summary}<ul>{lines}</ul></details>' if earlier else ""


def _name(saved: Checkpoint) -> str:
    return f'<b data-file="{escape(saved.file)}">{escape(Path(saved.file).name)}</b>'


def _buttons(saved: Checkpoint) -> str:
    file = _model_file(saved)
    link = ""
    if file:
        url = f"gradio_api/file={quote(str(file))}"
        link = f'<a class="copy" href="{escape(url)}" download>Download ({amount(file.stat().st_size)})</a> '
    return f'{link}<button type="button" class="copy" data-copy="{escape(saved.file)}">Copy path</button>'


def _model_file(saved: Checkpoint) -> Path | None:
    path = Path(saved.file)
    try:
        is_model = path.is_absolute() and path.is_file() and path.resolve().suffix in MODEL_ENDINGS
    except (OSError, ValueError, RuntimeError):
        return None
    return path if is_model and path.suffix in MODEL_ENDINGS else None
