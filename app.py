"""Darkroom's launcher: reads the options, builds the page, serves it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gui", description="Darkroom: train diffusion models in the browser.")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on; 0.0.0.0 for the whole network")
    parser.add_argument("--server_port", type=int, default=None, help="port; the first free one from 7860 by default")
    parser.add_argument("--inbrowser", action="store_true", help="open the browser even where none seems to be")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's servers")
    parser.add_argument("--headless", action="store_true", help="do not open a browser")
    parser.add_argument("--username", default="", help="ask for this user name")
    parser.add_argument("--password", default="", help="and this password")
    parser.add_argument("--root_path", default=None, help="path under which a reverse proxy serves the page")
    parser.add_argument("--language", default="en-US", help="language of the page (English only so far)")
    parser.add_argument("--config", type=Path, default=None, help="settings file to begin with")
    return parser.parse_args(arguments)


def has_browser() -> bool:
    """Whether a browser would open in a window: on Linux only with a display, else it would fill the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main() -> None:
    options = parse()
    if bool(options.username) != bool(options.password):
        sys.exit("--username and --password go together: give both or neither.")
    if not options.language.lower().startswith("en"):
        print(f"The page speaks English only so far, not {options.language}.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

    from engine.data.thumbnails import thumbnails_root
    from engine.runs.folder import runs_root
    from ui.page import build, looks

    runs_root().mkdir(parents=True, exist_ok=True)
    page = build(options.config)
    try:
        _, url, public_url = page.launch(
            server_name=options.listen,
            server_port=options.server_port,
            share=options.share,
            auth=(options.username, options.password) if options.username else None,
            root_path=options.root_path,
            allowed_paths=[str(runs_root()), str(thumbnails_root())],
            inbrowser=options.inbrowser or (has_browser() and not options.headless),
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            ssr_mode=False,
            **looks(),
        )
    except OSError as error:
        sys.exit(f"The page cannot be served: {error}")
    print(f"Running on local URL: {url.rstrip('/')}", flush=True)
    if public_url:
        print(f"Running on public URL: {public_url}", flush=True)
    page.block_thread()


if __name__ == "__main__":
    main()
