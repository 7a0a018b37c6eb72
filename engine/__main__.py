"""The command line: python -m engine train|check|demo|resume|convert|options, and every utility by its name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO, get_args

from engine.begin import CannotResume, begin, begin_utility, resume
from engine.check.check import check
from engine.check.mend import with_free_name
from engine.check.problem import Checked
from engine.data.training_set import plan_here
from engine.free_memory import room
from engine.garbage import kept_for_good
from engine.jobs import UTILITIES, Job
from engine.runs.folder import RunFolder
from engine.runs.listing import run_named
from engine.settings.convert import FOR_A_LORA, TARGETS, convert, save
from engine.settings.files import Loaded, SettingsFileError, read_settings
from engine.settings.option import Option, sections_of
from engine.settings.paths import with_whole_paths
from engine.settings.reference import reference_page
from engine.settings.training import USUAL, Method, TrainingSettings, training_options
from engine.settings.values import BadValues

FILE_HELP = "settings of Darkroom, kohya_ss or sd-scripts: JSON, TOML, or a text file with a command line"

GIB = 2**30

CANNOT_START = 2
"""Exit code for wrong settings, the same as argparse's for wrong arguments."""


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A file is written in UTF-8; a terminal may lack characters, and then shows their escapes.
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    given = _parser().parse_args(arguments)
    try:
        return int(given.command(given))
    except (SettingsFileError, BadValues, CannotResume) as error:
        print(error, file=sys.stderr)
        return CANNOT_START


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description="Darkroom's engine, without the page.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train with the settings in a file")
    train.add_argument("file", nargs="?", type=Path, help=FILE_HELP)
    _add_training_options(train)
    train.set_defaults(command=_train)

    checking = commands.add_parser("check", help="check a settings file without starting anything")
    checking.add_argument("file", nargs="?", type=Path, help=FILE_HELP)
    checking.add_argument("--json", action="store_true", help="print the problems as JSON")
    _add_training_options(checking)
    checking.set_defaults(command=_check)

    estimating = commands.add_parser(
        "estimate", help="estimate how much memory a settings file needs, without starting anything"
    )
    estimating.add_argument("file", nargs="?", type=Path, help=FILE_HELP)
    estimating.add_argument(
        "--json", action="store_true", help="print bytes as JSON, then ways to save memory, one per line"
    )
    _add_training_options(estimating)
    estimating.set_defaults(command=_estimate)

    counting = commands.add_parser(
        "count", help="count a network's layers and numbers: settings as JSON, a line each, from standard input"
    )
    counting.set_defaults(command=_count)

    demo = commands.add_parser("demo", help="train the built-in model on the built-in pictures")
    demo.add_argument("folder", nargs="?", type=Path, default=Path("demo"), help="where to write them (demo)")
    _add_training_options(demo)
    demo.set_defaults(command=_demo)

    resume = commands.add_parser("resume", help="resume a run that was stopped or killed")
    resume.add_argument("run", help="the run's folder, or its name in runs/")
    resume.set_defaults(command=_resume)

    converting = commands.add_parser("convert", help="convert a settings file to another format")
    converting.add_argument("file", type=Path, help=FILE_HELP)
    converting.add_argument("--to", required=True, choices=TARGETS, help="the format")
    converting.add_argument("--output", type=Path, metavar="FILE", help="where to write it; printed if left out")
    converting.set_defaults(command=_convert)

    for name, job in UTILITIES.items():
        _add_utility(commands, name, job)

    options = commands.add_parser("options", help="print the reference page of all options (docs/options.md)")
    options.set_defaults(command=lambda _: print(reference_page(_options_of_utilities()), end="") or 0)

    working = commands.add_parser("work")  # run by process.start(): not for people, so without help
    working.add_argument("run", type=Path)
    working.set_defaults(command=_work)
    return parser


def _add_utility(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, job: Job) -> None:
    parser = commands.add_parser(name, help=job.help[:1].lower() + job.help[1:].rstrip("."), description=job.help)
    _add_options(parser, job.settings_class().options())
    parser.set_defaults(command=lambda given: _start_utility(name, job, given))


def _options_of_utilities() -> dict[str, tuple[Option, ...]]:
    return {name: job.settings_class().options() for name, job in UTILITIES.items()}


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=get_args(Method), help="what to train, if the file does not say")
    _add_options(parser, training_options())


def _add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """One argument for every option, under its name and kohya's, if that differs.

    Only options that this version supports have help; the others are accepted and kept.
    """
    for section in sections_of(options):
        group = parser.add_argument_group(section)
        for item in options:
            if item.section == section:
                _add_option(group, item)


def _add_option(group: argparse._ArgumentGroup, item: Option) -> None:
    flags = [f"--{name}" for name in dict.fromkeys([item.name, item.kohya.key])]
    allowed = f" ({item.range_text()})" if item.range_text() else ""
    standing = "" if item.acts else f" ({item.standing.text()})"
    text = f"{item.help}{allowed}{standing} [{item.default}]".replace("%", "%%")
    if item.standing.kind in ("idle", "later"):
        text = argparse.SUPPRESS
    if item.kind is bool:
        group.add_argument(
            *flags,
            dest=item.name,
            nargs="?",
            const="true",
            default=argparse.SUPPRESS,
            help=text,
            metavar="true|false",
        )
    else:
        group.add_argument(*flags, dest=item.name, default=argparse.SUPPRESS, help=text, metavar="VALUE")


def _settings(given: argparse.Namespace, base: Loaded | None = None) -> TrainingSettings:
    """The file's settings, overridden by the command line's options; reports oddities of the file on stderr."""
    if base is None:
        base = read_settings(given.file) if given.file else Loaded(TrainingSettings())
    for sentence in base.report():
        print(sentence, file=sys.stderr)
    if given.method:
        names_them = base.named & USUAL.keys()
        base.settings = base.settings_by(given.method) if names_them else base.settings.for_method(given.method)
    return base.settings.with_values(_given(training_options(), given))


def _given(options: Sequence[Option], given: argparse.Namespace) -> dict[str, str]:
    return {item.name: getattr(given, item.name) for item in options if hasattr(given, item.name)}


def _train(given: argparse.Namespace) -> int:
    return _start(_settings(given))


def _start_utility(name: str, job: Job, given: argparse.Namespace) -> int:
    from engine.terminal import follow

    settings_class = job.settings_class()
    settings = settings_class().with_values(_given(settings_class.options(), given))
    checked, run = begin_utility(name, settings)
    _print_problems(checked, sys.stderr, settings_class.options())
    if run is None:
        return CANNOT_START
    print(f"run: {run.path}", flush=True)
    return follow(run, run.events())


def _demo(given: argparse.Namespace) -> int:
    from engine.demo.demo import write_demo

    return _start(with_free_name(_settings(given, Loaded(write_demo(given.folder.absolute())))))


def _start(settings: TrainingSettings) -> int:
    from engine.terminal import follow

    checked, run = begin(settings)
    _print_problems(checked, sys.stderr, training_options())
    if run is None or checked.plan is None:
        return CANNOT_START
    print(checked.plan.arithmetic())
    print(f"run: {run.path}", flush=True)
    return follow(run, run.events())


def _resume(given: argparse.Namespace) -> int:
    from engine.terminal import follow

    run = run_named(given.run) or RunFolder(Path(given.run).resolve())
    if not run.settings_file.exists():
        raise SettingsFileError(f"There is no run {given.run!r}.")
    reader = run.events()
    reader.read()
    resume(run)
    return follow(run, reader)


def _check(given: argparse.Namespace) -> int:
    settings = _settings(given)
    checked = check(settings)
    if given.json:
        problems = [problem.as_plain() for problem in checked.problems]
        steps = checked.plan.steps if checked.plan else None
        print(json.dumps({"can_start": checked.can_start, "steps": steps, "problems": problems}, indent=2))
    else:
        _print_problems(checked, sys.stdout, training_options())
        if checked.plan:
            print(checked.plan.arithmetic())
        print("Ready to start." if checked.can_start else "Not ready to start.")
    return 0 if checked.can_start else CANNOT_START


def _estimate(given: argparse.Namespace) -> int:
    from engine.failure import Failure

    with kept_for_good():
        from engine.training.estimate import estimate
        from engine.training.savings import ways_down

    settings = with_whole_paths(_settings(given))
    here = room(settings.hardware.first_gpu())
    try:
        now = estimate(settings, here.device)
    except Failure as failure:
        print(json.dumps({"failure": str(failure)}) if given.json else failure, flush=True)
        return CANNOT_START
    if given.json:
        print(json.dumps({"room": asdict(here), **asdict(now), "fullest": now.fullest}), flush=True)
        for way in ways_down(settings, now, here.device):
            print(json.dumps(asdict(way)), flush=True)
        return 0
    print(f"{now.total / GIB:.1f} GiB of {here.free / GIB:.1f} GiB free ({here.name}), peak while {now.fullest}:")
    for part, size in asdict(now.phases[now.fullest]).items():
        print(f"  {size / GIB:6.2f} GiB {part}")
    print(f"  {now.program / GIB:6.2f} GiB program")
    for way in ways_down(settings, now, here.device):
        print(f"{way.words}: {way.saves / GIB:.1f} GiB less", flush=True)
    return 0


def _count(given: argparse.Namespace) -> int:
    with kept_for_good():
        from engine.training.counting import count_each

    count_each(sys.stdin, sys.stdout)
    return 0


def _convert(given: argparse.Namespace) -> int:
    loaded = read_settings(given.file)
    plan = plan_here(loaded.settings) if given.to in FOR_A_LORA else None
    converted = convert(loaded.settings, given.to, given.output, plan.steps if plan else None)
    if given.output:
        save(converted, given.to, given.output)
    else:
        print(converted.text, end="")
    for sentence in [*loaded.report(), *converted.notes]:
        print(sentence, file=sys.stderr)
    return 0


def _print_problems(checked: Checked, stream: TextIO, options: Sequence[Option]) -> None:
    labels = {item.name: item.label for item in options}
    for problem in checked.problems:
        kind = "" if problem.blocking else "(you can start anyway) "
        head = f"{labels[problem.option]}: " if problem.option in labels else ""
        print(f"{head}{kind}{problem.what} {problem.mend}".rstrip(), file=stream)


def _work(given: argparse.Namespace) -> int:
    from engine.worker import work

    return work(RunFolder(given.run))


if __name__ == "__main__":
    sys.exit(main())
