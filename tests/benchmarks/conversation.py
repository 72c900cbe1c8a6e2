"""`Conversation`: what an hour of speech costs in memory and in time, over dispatching the events alone.

The events are made one by one, as the decoder makes them, and handed to a visitor: no socket is involved.
"bare" is a visitor whose handler does nothing.  Times are of the processor; each figure comes from a fresh
process.

"ledger" is what a session does with each event before anybody listens: it understands it and puts the facts
on it, here for the events of reads of the connection that bring ten each; "one by one" for reads that bring
one; with "reconnect" the session also keeps what it would restore by another connection.
The deltas of that table are of text.  The last table counts the calls of Python functions in the user's
thread for one delta of audio on its way through an `Assistant`, from the queue to the speaker.
"""

import gc
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from common import child, interleaved, machine, options, pin, spread, table

SILENCE = bytes(48_000)
HOUR = 3600 * 48_000  # bytes of 24 kHz mono 16-bit PCM
SIZES = {4800: "100 ms", 9600: "200 ms"}
DELTAS_PER_RESPONSE = 600  # 60 or 120 seconds
GOAL_US = 0.8
GOAL_LEDGER_US = 1.0
GOAL_MIB = 1.0
GOAL_CALLS = 30
FIRST, COUNTED = 5, 40  # deltas before those that are counted, and these
WAYS = ("bare", "drop", "callback", "keep")
READS = {"bare": 0, "ledger": 10, "one by one": 1, "ledger, reconnect": 10, "one by one, reconnect": 1}
WORDS = 20_000


def talk(size: int, responses: int) -> Iterator[list[Any]]:
    """The events of responses, each of one item with one part; the sound lasts an hour at most."""
    from realtime_sync import events as ev

    count = HOUR // size
    for number in range(0, count, DELTAS_PER_RESPONSE)[:responses]:
        response_id, item_id = f"resp_{number}", f"item_{number}"
        where = {"response_id": response_id, "output_index": 0}
        part = {**where, "item_id": item_id, "content_index": 0}
        response = ev.Response(id=response_id, status="in_progress", conversation_id="conv_1")
        item = ev.Message(id=item_id, status="in_progress", role="assistant", content=[])
        events: list[Any] = [
            ev.ResponseCreated(event_id=f"event_{number}_a", response=response),
            ev.ResponseOutputItemAdded(event_id=f"event_{number}_b", **where, item=item),
            ev.ConversationItemAdded(event_id=f"event_{number}_c", item=item),
            ev.ResponseContentPartAdded(event_id=f"event_{number}_d", **part, part=ev.Audio()),
        ]
        for delta in range(number, min(number + DELTAS_PER_RESPONSE, count)):
            sound = SILENCE[: size - 1] + b"\x01"  # a new object each time
            events.append(ev.ResponseOutputAudioDelta(event_id=f"event_{delta}", **part, delta=sound))
        done = ev.Response(id=response_id, status="completed", conversation_id="conv_1")
        events.append(ev.ResponseDone(event_id=f"event_{number}_e", response=done))
        yield events


def resident() -> float:
    """MiB of memory that this process really has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def measure(way: str, size: int) -> dict[str, float]:
    import realtime_sync as rt
    from realtime_sync.voice.conversation import Conversation

    class Bare(rt.Visitor[None]):
        def visit_response_output_audio_delta(self, event: rt.events.ResponseOutputAudioDelta) -> None:
            pass

    visitor = {
        "bare": Bare,
        "drop": lambda: Conversation(audio="drop"),
        "callback": lambda: Conversation(audio=lambda item, chunk: None),
        "keep": lambda: Conversation(audio="keep"),
    }[way]()
    visit, clock = visitor.visit, time.process_time
    for events in talk(size, 2):  # so that the code is warm and what it works with is there
        for event in events:
            visit(event)
    gc.collect()
    before, seconds, count = resident(), 0.0, 0
    for events in talk(size, HOUR):
        started = clock()
        for event in events:
            visit(event)
        seconds += clock() - started
        count += len(events)
    return {"us": seconds / count * 1e6, "before": before, "after": resident(), "events": count}


def measure_ledger(way: str) -> dict[str, float]:
    """The time for text deltas: to dispatch them, or to understand them in reads of so many each."""
    import realtime_sync as rt
    from realtime_sync import events as ev
    from realtime_sync.session.gate import Gate
    from realtime_sync.session.line import Line

    class Bare(rt.Visitor[None]):
        def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
            pass

    no_connection: Any = None
    kept = 30.0 if way.endswith("reconnect") else None
    gate = Gate(lambda event, payload: None, Line(no_connection), audio_kept=kept)
    begun = ev.Response(id="resp_1", status="in_progress", conversation_id="conv_1")
    gate.note([ev.ResponseCreated(event_id="event_0", response=begun)])
    part = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    visit, note, clock, size = Bare().visit, gate.note, time.process_time, READS[way]
    seconds = 0.0
    for start in range(0, WORDS, 100):
        events: list[Any] = [
            ev.ResponseOutputTextDelta(event_id=f"event_{number}", delta=" word", **part)
            for number in range(start, start + 100)
        ]
        reads = [events[first : first + size] for first in range(0, 100, size)] if size else []
        started = clock()
        for read in reads:
            note(read)
        for event in events:
            visit(event)
        seconds += clock() - started
    return {"us": seconds / WORDS * 1e6}


def count_calls() -> dict[str, float]:
    """Calls of Python functions for a delta of audio that an `Assistant` takes from a real session."""
    import realtime_sync as rt
    from realtime_sync import events as ev
    from realtime_sync.local import LocalServer, Say, ScriptedResponder
    from realtime_sync.voice import Assistant, ClockedSpeaker

    calls = deltas = 0
    at: dict[int, int] = {}  # the number of calls so far, by that of deltas

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    class Last(rt.Visitor[None]):
        """Notes how many calls there were when a delta has passed all the others."""

        def visit(self, event: rt.ServerEvent) -> None:
            nonlocal deltas
            if isinstance(event, ev.ResponseOutputAudioDelta):
                deltas += 1
                at[deltas] = calls - deltas  # without those of this method

    responder = ScriptedResponder([Say("", bytes(9600 * 200))])
    with LocalServer(responder=responder) as server, rt.connect(base_url=server.url) as session:
        assistant = Assistant(session, speaker=ClockedSpeaker(), visitors=[Last()])
        session.response.create()
        while session.stats.events_in < FIRST + COUNTED + 20:  # so that the deltas are queued
            time.sleep(0.01)
        sys.setprofile(count)
        session.run(assistant.visitor, until=ev.ResponseDone, timeout=30)
        sys.setprofile(None)
    return {"calls": (at[FIRST + COUNTED] - at[FIRST]) / COUNTED}


def main() -> None:
    settings = options()
    print(machine())
    figures = interleaved(READS, settings.runs, lambda way: child("conversation.py", "ledger", way))
    more = {
        way: [run["us"] - bare["us"] for run, bare in zip(runs, figures["bare"], strict=True)]
        for way, runs in figures.items()
    }
    table(
        f"{WORDS} deltas of text, before anybody listens",
        ["way", "us per event over bare", "goal"],
        [[way, spread(more[way]), "" if way == "bare" else f"{GOAL_LEDGER_US:g}"] for way in READS],
    )
    counted = child("conversation.py", "calls")
    table(
        "one delta of audio through an Assistant",
        ["calls of Python functions", "goal"],
        [[f"{counted['calls']:.1f}", f"{GOAL_CALLS}"]],
    )
    for size, length in SIZES.items():
        figures = interleaved(
            WAYS,
            settings.runs,
            lambda way, size=size: child("conversation.py", "child", way, str(size)),  # type: ignore[misc]
        )
        rows = []
        for way, runs in figures.items():
            more = [run["us"] - bare["us"] for run, bare in zip(runs, figures["bare"], strict=True)]
            grown = [run["after"] - run["before"] for run in runs]
            rows.append(
                [
                    way,
                    spread(more),
                    "" if way == "bare" else f"{GOAL_US:g}",
                    spread([run["before"] for run in runs], 1),
                    spread([run["after"] for run in runs], 1),
                    spread(grown, 1),
                    f"{GOAL_MIB:g}" if way in ("drop", "callback") else "",
                ]
            )
        table(
            f"an hour of speech, {figures['bare'][0]['events']:.0f} events of {length}",
            ["sound", "us per event over bare", "goal", "MiB before", "MiB after", "MiB more", "goal"],
            rows,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["ledger"]:
        pin(0)
        print(json.dumps(measure_ledger(sys.argv[2])), flush=True)
    elif sys.argv[1:2] == ["calls"]:
        print(json.dumps(count_calls()), flush=True)
    elif sys.argv[1:2] == ["child"]:
        pin(0)
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))), flush=True)
    else:
        main()
