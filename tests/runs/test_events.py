"""A run's history on disk: readable whatever happened to its writer."""

from __future__ import annotations

import threading
from pathlib import Path

from engine.runs.events import EventReader, EventWriter, Finished, Stage, Warned


def test_events_are_read_as_they_were_written(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    written = [Stage(name="loading", detail='odd "name"\nwith a line'), Warned(text="é"), Finished(how="done", step=3)]
    EventWriter(file).write(*written)
    assert EventReader(file).read() == written


def test_a_reader_sees_only_what_is_new(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    writer, reader = EventWriter(file), EventReader(file)
    assert reader.read() == []
    writer.write(Warned(text="one"))
    assert [event.text for event in reader.read()] == ["one"]
    assert reader.read() == []
    writer.write(Warned(text="two"))
    assert [event.text for event in reader.read()] == ["two"]


def test_a_half_written_line_is_read_once_it_is_whole(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    line = Warned(text="whole").model_dump_json() + "\n"
    reader = EventReader(file)
    file.write_text(line[:10])
    assert reader.read() == []
    file.write_text(line)
    assert [event.text for event in reader.read()] == ["whole"]


def test_after_a_killed_writer_the_next_begins_on_a_line_of_its_own(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    EventWriter(file).write(Warned(text="before"))
    with file.open("a") as stream:
        stream.write('{"kind": "warn')
    EventWriter(file).write(Warned(text="after"))
    assert [event.text for event in EventReader(file).read()] == ["before", "after"]


def test_kinds_and_lines_that_a_reader_does_not_know_are_passed_over(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"kind": "hologram", "time": 1}\nnot json\n\xff\xfe\n[]\n')
    EventWriter(file).write(Warned(text="known"))
    assert [event.text for event in EventReader(file).read()] == ["known"]


def test_several_threads_write_whole_lines(tmp_path: Path):
    file = tmp_path / "events.jsonl"
    writer = EventWriter(file)
    threads = [
        threading.Thread(target=lambda n=n: [writer.write(Warned(text=f"{n}" * 500)) for _ in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(EventReader(file).read()) == 200
