"""`Conversation`: what an hour of speech costs in memory and in time, over dispatching the events alone.

The events are made one by one, as the decoder makes them, and handed to a visitor: no socket is involved.
"bare" is a visitor whose handler does nothing.  Times are of the processor; each figure comes from a fresh
process.
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
GOAL_US = 2.0
GOAL_MIB = 1.0
WAYS = ("bare", "drop", "callback", "keep")


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


def main() -> None:
    settings = options()
    print(machine())
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
    if sys.argv[1:2] == ["child"]:
        pin(0)
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))), flush=True)
    else:
        main()
