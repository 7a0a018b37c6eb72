"""Darkroom's launcher: reads the options, builds the page, serves it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from engine.failure import Failure
from engine.garbage import kept_for_good
from ui.access import EVERYONE, PASSWORD_VARIABLE, asked_for
from ui.proxies import no_proxies


def port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port: ports go from 1 to 65535")
    return number


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gui", description="Darkroom: train diffusion models in the browser.")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on; 0.0.0.0 for the whole network")
    parser.add_argument("--server_port", type=port, help="port; the first free one from 7860 by default")
    parser.add_argument("--inbrowser", action="store_true", help="open a browser even if none seems to be available")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's servers")
    parser.add_argument("--headless", action="store_true", help="do not open a browser")
    parser.add_argument("--username", default="", help="require this user name to log in")
    parser.add_argument("--password", default="", help="the password; others can see it in the process list")
    parser.add_argument(
        "--password_file",
        type=Path,
        help=f"file with the password, which can also be in the variable {PASSWORD_VARIABLE}",
    )
    parser.add_argument(
        EVERYONE,
        action="store_true",
        help="with --listen, --share or --allowed_hosts: anyone who can reach the page may use it",
    )
    parser.add_argument(
        "--allowed_hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="additional host names of the page, such as a reverse proxy's",
    )
    parser.add_argument("--root_path", default="", help="path at which a reverse proxy serves the page")
    parser.add_argument("--language", default="en-US", help="language of the page (English only so far)")
    parser.add_argument("--config", type=Path, default=None, help="settings file to start with")
    return parser.parse_args(arguments)


def has_browser() -> bool:
    """Whether a browser would open in a window: on Linux only with a display, else it would fill the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run(options: argparse.Namespace) -> None:
    """Raises Failure where the page cannot be served as it is asked."""
    access = asked_for(
        options.listen,
        options.share,
        options.root_path,
        tuple(options.allowed_hosts),
        options.username,
        options.password,
        options.password_file,
        options.allow_everyone_without_password,
    )
    if not options.language.lower().startswith("en"):
        print(f"The page is only available in English so far, not in {options.language}.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from engine.data.thumbnails import thumbnails_root
    from engine.runs.folder import runs_root
    from ui.uploads import uploads_folder

    runs_root().mkdir(parents=True, exist_ok=True)
    with uploads_folder():
        with no_proxies(), kept_for_good():
            from ui.page import build, looks
            from ui.serving import serve
        serve(
            build(options.config, access.notice),
            access,
            options.server_port,
            share=options.share,
            opens=options.inbrowser or (has_browser() and not options.headless),
            root_path=options.root_path,
            allowed_paths=[str(runs_root()), str(thumbnails_root())],
            **looks(),
        )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was uploaded is removed first
    try:
        run(parse())
    except Failure as failure:
        sys.exit(f"{failure.what} {failure.mend}".strip())


if __name__ == "__main__":
    main()
