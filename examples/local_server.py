"""Try a program without a key or a network: a local server gives the answers that you script."""

import realtime_sync as rt
from realtime_sync.local import CallFunction, LocalServer, Say, ScriptedResponder

responder = ScriptedResponder([[Say("One moment.")], [CallFunction("hang_up", {"politely": True})]])

with (
    LocalServer(responder=responder) as server,
    rt.connect(base_url=server.url) as session,
):
    session.update(output_modalities=["text"])
    for turn in ("Hello?", "Goodbye."):
        session.conversation.item.create(turn)
        session.response.create()
        for event in session:
            if isinstance(event, rt.events.ResponseOutputTextDone):
                print("it said:", event.text)
            elif isinstance(event, rt.events.ResponseFunctionCallArgumentsDone):
                print("it called:", event.name, event.arguments)
            elif isinstance(event, rt.events.ResponseDone):
                break
