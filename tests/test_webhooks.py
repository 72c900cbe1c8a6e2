"""`webhooks`: what is let in, what it is read as, and that OpenAI's client judges alike."""

import base64
import json
import logging
import time
from collections.abc import Mapping
from email import message_from_string
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secrets_watch import WEBHOOK_SECRET
from werkzeug.datastructures import Headers

import realtime_sync as rt
from realtime_sync.webhooks import IncomingCall, RealtimeCallIncoming, SipHeader, UnknownWebhook, sign, unwrap

NOW = 1_750_287_078
INCOMING: dict[str, Any] = {
    "object": "event",
    "id": "evt_685343a1381c819085d44c354e1b330e",
    "type": "realtime.call.incoming",
    "created_at": 1750287018,
    "data": {
        "call_id": "rtc_1",
        "sip_headers": [
            {"name": "From", "value": "sip:+142555512112@sip.example.com"},
            {"name": "To", "value": "sip:+18005551212@sip.example.com"},
            {"name": "Call-ID", "value": "03782086-4ce9-44bf-8b0d-4e303d2cc590"},
        ],
    },
}
BODY = json.dumps(INCOMING).encode()


def signed(body: bytes | str = BODY, /, **changes: str | None) -> dict[str, str]:
    """Headers for a body, signed now; ``changes`` by the last word of their names, None = without it."""
    headers: dict[str, str | None] = {**sign(body, WEBHOOK_SECRET, webhook_id="wh_1", now=NOW)}
    headers.update({f"webhook-{name}": value for name, value in changes.items()})
    return {name: value for name, value in headers.items() if value is not None}


def read(body: bytes | str, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
    headers = signed(body) if headers is None else headers
    return unwrap(body, headers, WEBHOOK_SECRET, **{"now": NOW, **options})


def refusal(headers: Mapping[str, str], body: bytes = BODY, **options: Any) -> str:
    with pytest.raises(rt.InvalidWebhookSignature) as caught:
        read(body, headers, **options)
    assert isinstance(caught.value, rt.RealtimeError)
    return str(caught.value)


# --- What it is read as -----------------------------------------------------------------------------


def test_an_incoming_call() -> None:
    """A call that rings is a typed event, with its id and its SIP headers in order."""
    event = read(BODY)
    assert event == RealtimeCallIncoming(
        id="evt_685343a1381c819085d44c354e1b330e",
        created_at=1750287018,
        data=IncomingCall(
            call_id="rtc_1",
            sip_headers=[SipHeader(**header) for header in INCOMING["data"]["sip_headers"]],
        ),
    )
    assert event.type == "realtime.call.incoming"
    assert event.data.header("from") == "sip:+142555512112@sip.example.com"
    assert event.data.header("CALL-ID") == "03782086-4ce9-44bf-8b0d-4e303d2cc590"
    assert event.data.header("Via") is None


def test_text_is_as_good_as_bytes() -> None:
    """A body that the web framework has decoded already is accepted."""
    assert read(BODY.decode()) == read(BODY)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"id": "evt_1", "created_at": 5, "type": "batch.completed", "data": {"id": "batch_1"}},
            UnknownWebhook(id="evt_1", created_at=5, type="batch.completed", data={"id": "batch_1"}),
        ),
        ({"type": "brand.new"}, UnknownWebhook(type="brand.new")),
        ({"id": 5, "created_at": "x", "data": [1]}, UnknownWebhook(data=[1])),
        ({"type": ["realtime.call.incoming"]}, UnknownWebhook()),
        ([1, "a"], UnknownWebhook(data=[1, "a"])),
        (None, UnknownWebhook()),
    ],
)
def test_unknown_events(value: Any, expected: UnknownWebhook) -> None:
    """What this version doesn't know is generic: its type and its data."""
    assert read(json.dumps(value)) == expected


@pytest.mark.parametrize(
    ("data", "expected", "logged"),
    [
        (None, IncomingCall(call_id="", sip_headers=[]), "data: expected object, got null"),
        ({"call_id": "rtc_1"}, IncomingCall(call_id="rtc_1", sip_headers=[]), "data.sip_headers: missing"),
        (
            {"call_id": 7, "sip_headers": [{"name": "From"}]},
            IncomingCall(call_id="", sip_headers=[SipHeader(name="From", value="")]),
            "data.sip_headers[].value: missing",
        ),
        (
            {"call_id": "rtc_1", "sip_headers": [], "sip_media_security": "new", "more": 1},
            IncomingCall(call_id="rtc_1", sip_headers=[], sip_media_security="new"),
            "",
        ),
    ],
)
def test_deviations(
    data: object, expected: IncomingCall, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fields that are missing or wrong read as their zero, and are logged; new ones are ignored."""
    with caplog.at_level(logging.WARNING, "realtime_sync"):
        event = read(json.dumps({**INCOMING, "data": data}))
    assert (type(event), event.data) == (RealtimeCallIncoming, expected)
    assert logged in caplog.text
    assert "realtime.call.incoming.data" in caplog.text or not logged


def test_half_a_surrogate_pair() -> None:
    """A caller's name that was cut inside an emoji does not hurt."""
    body = BODY.replace(b"03782086", rb"\ud83d")
    assert read(body).data.header("Call-ID") == "\ufffd-4ce9-44bf-8b0d-4e303d2cc590"


@pytest.mark.parametrize("body", [b"", b"{", b"hello", b'{"a": "\xff"}', b"[" * 200_000])
def test_not_json(body: bytes) -> None:
    """A body that is signed and no JSON is a `ValueError` that says so."""
    with pytest.raises(
        ValueError, match=r"signature is valid, but its (body is not JSON|JSON is nested too deeply)"
    ):
        read(body)


@given(st.binary() | st.text() | st.lists(st.none() | st.text() | st.integers()).map(json.dumps))
@settings(deadline=None)
def test_content_never_hurts(body: bytes | str) -> None:
    """Whatever is signed is read, or is no JSON."""
    try:
        assert isinstance(read(body), UnknownWebhook)
    except ValueError as error:
        assert "signature is valid" in str(error)  # noqa: PT017  # both outcomes are fine


# --- What is let in ---------------------------------------------------------------------------------


def test_the_vector_of_the_specification() -> None:
    """The signature is the one that the Standard Webhooks specification gives as its example."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}'
    headers = sign(body, secret, webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek", now=1614265330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert unwrap(body, headers, secret, now=1614265330.9) == UnknownWebhook()


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_letter_case_of_headers(spell: Any) -> None:
    """Headers are found however the web framework spells them."""
    assert read(BODY, {spell(name): value for name, value in signed().items()})


def in_bytes(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


@pytest.mark.parametrize(
    "frameworks",
    [
        in_bytes,
        lambda headers: list(in_bytes(headers).items()),  # ASGI, Starlette's `raw`
        lambda headers: iter(headers.items()),
        lambda headers: tuple(map(list, headers.items())),
        lambda headers: {name: value.encode() for name, value in headers.items()},
        lambda headers: {name: bytearray(value.encode()) for name, value in headers.items()},
        lambda headers: {name.encode(): value for name, value in headers.items()},
        lambda headers: {**headers, "x-list": ["a"], b"x-other": b"\xff", 7: None},
        lambda headers: message_from_string("".join(f"{name}: {headers[name]}\n" for name in headers)),
        Headers,
    ],
)
def test_the_headers_of_frameworks(frameworks: Any) -> None:
    """Headers are taken as mappings or pairs, of text or of bytes, whatever else is among them."""
    assert read(BODY, frameworks(signed()))


def test_a_header_that_is_no_text() -> None:
    """A value that can't be one is the program's mistake, which is told."""
    headers: Any = {**signed(), "webhook-id": ["wh_1"]}
    with pytest.raises(TypeError, match=r"^the header webhook-id: expected str or bytes, got list$"):
        unwrap(BODY, headers, WEBHOOK_SECRET, now=NOW)


@pytest.mark.parametrize(
    "signatures", ["{good} v1,AAAA", "v1,AAAA {good}", "v2,AAAA {good}", "v1a,AAAA  {good}\t", "x {good}"]
)
def test_several_signatures(signatures: str) -> None:
    """While a secret is changed there are several signatures: one good one is enough."""
    good = signed()["webhook-signature"]
    assert read(BODY, signed(signature=signatures.format(good=good)))


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_headers(name: str, value: str | None) -> None:
    """What is not signed is rejected, and the error names the header."""
    assert refusal(signed(**{name: value})) == f"the webhook is not signed: no header webhook-{name}"


def test_not_signed_at_all() -> None:
    """Somebody just posts."""
    assert refusal({"Content-Type": "application/json"}) == (
        "the webhook is not signed: no header webhook-id and no webhook-timestamp and no webhook-signature"
    )


@pytest.mark.parametrize(
    "headers",
    [
        signed(id="wh_2"),
        signed(timestamp=str(NOW + 1)),
        signed(signature="v1,"),
        signed(signature="v1,AAAA"),
        signed(signature="v1,k\u00fc\udc80"),
        signed(signature=signed()["webhook-signature"][:-1]),
        signed(signature=signed()["webhook-signature"] + "="),
        signed(b"{}"),
        sign(BODY, "whsec_AAAA", now=NOW),
        sign(BODY, WEBHOOK_SECRET.removeprefix("whsec_"), now=NOW),
    ],
)
def test_wrong_signatures(headers: dict[str, str]) -> None:
    """One letter changed anywhere, or another secret: rejected, without a hint of the right signature."""
    text = refusal(headers)
    assert text.startswith("the webhook's signature is wrong")
    assert signed()["webhook-signature"].removeprefix("v1,") not in text


@pytest.mark.parametrize("version", ["", "v1", "v2,", "v1a,", "V1,"])
def test_other_versions(version: str) -> None:
    """A signature counts only under its version: what another version means is not known here."""
    headers = signed(signature=signed()["webhook-signature"].replace("v1,", version))
    assert refusal(headers) == "the webhook has no signature of version v1"


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (-301, "too new: signed 301 s from now"),
        (-300, None),
        (0, None),
        (300.9, None),
        (301, "too old: signed 301 s ago"),
    ],
)
def test_age(seconds: float, verdict: str | None) -> None:
    """Five minutes are tolerated, in both directions."""
    if verdict is None:
        assert read(BODY, signed(), now=NOW + seconds)
    else:
        text = refusal(signed(), now=NOW + seconds)
        assert text == f"the webhook is {verdict}, and 300 s are tolerated; is this machine's clock right?"


def test_tolerance() -> None:
    """The tolerance can be set, and no number opens the door by being none."""
    assert read(BODY, signed(), now=NOW + 1000, tolerance=1000)
    assert "0 s are tolerated" in refusal(signed(), now=NOW + 1, tolerance=0)
    assert "too old" in refusal(signed(), now=NOW + 1, tolerance=float("nan"))


@pytest.mark.parametrize("timestamp", ["soon", "-5", "1.5", "+1", "1_0", " 1", "\u0661", "9" * 5000, "1e9"])
def test_bad_timestamps(timestamp: str) -> None:
    """A timestamp that is no number is rejected before any arithmetic."""
    assert refusal(signed(timestamp=timestamp)) == "the webhook's timestamp is not in Unix seconds"


def test_clock() -> None:
    """Without ``now``, the time is this machine's."""
    assert unwrap(BODY, sign(BODY, WEBHOOK_SECRET), WEBHOOK_SECRET)
    with pytest.raises(rt.InvalidWebhookSignature, match="too old"):
        unwrap(BODY, signed(), WEBHOOK_SECRET)


def test_ids_are_new() -> None:
    """Each webhook that is signed here has an id of its own."""
    assert len({sign(BODY, WEBHOOK_SECRET)["webhook-id"] for _ in range(10)}) == 10


# --- The secret -------------------------------------------------------------------------------------


def test_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPENAI_WEBHOOK_SECRET`` is the default."""
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", WEBHOOK_SECRET)
    assert rt.webhooks.unwrap(BODY, rt.webhooks.sign(BODY)).type == "realtime.call.incoming"


@pytest.mark.parametrize("secret", [None, ""])
@pytest.mark.parametrize("environment", [None, ""])
def test_no_secret(secret: str | None, environment: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret nothing is let in, not even what is signed with nothing."""
    if environment is not None:
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", environment)
    for act in (lambda: unwrap(BODY, signed(), secret), lambda: sign(BODY, secret)):
        with pytest.raises(ValueError, match="no webhook secret: set OPENAI_WEBHOOK_SECRET"):
            act()


@pytest.mark.parametrize("secret", ["whsec_", "whsec_====", "whsec_%tellnobody%", "whsec_A", "whsec_ключ"])
def test_damaged_secrets(secret: str) -> None:
    """A secret that lost something on its way is a `ValueError` that does not quote it."""
    with pytest.raises(ValueError, match="after whsec_ it must be base64") as caught:
        unwrap(BODY, signed(), secret)
    assert secret.removeprefix("whsec_") not in str(caught.value) or secret == "whsec_"
    assert caught.value.__context__ is None or "tellnobody" not in repr(caught.value.__context__)


def test_forms_of_a_secret() -> None:
    """Padding and a line's end make no difference; without the prefix, the text itself is the secret."""
    secret = f"whsec_{base64.b64encode(b'test-test').decode()}"
    shorter = f"whsec_{base64.b64encode(b'test-tes').decode()}"
    assert unwrap(BODY, sign(BODY, secret, now=NOW), f"{secret}\n", now=NOW)
    assert unwrap(BODY, sign(BODY, shorter, now=NOW), shorter.rstrip("="), now=NOW)
    assert unwrap(BODY, sign(BODY, "test-test", now=NOW), secret, now=NOW)
    assert unwrap(BODY, sign(BODY, "grün", now=NOW), "grün", now=NOW)


# --- With OpenAI's own client -----------------------------------------------------------------------

peer = openai.OpenAI(api_key="none", webhook_secret=WEBHOOK_SECRET)


def peer_accepts(body: bytes | str, headers: dict[str, str], secret: str) -> bool:
    try:
        peer.webhooks.verify_signature(body, headers, secret=secret)
    except Exception:  # it has no single error for what it can't read
        return False
    return True


def we_accept(body: bytes | str, headers: dict[str, str], secret: str) -> bool:
    try:
        unwrap(body, headers, secret)
    except rt.InvalidWebhookSignature:
        return False
    except ValueError as error:  # signed, and no JSON
        assert "signature is valid" in str(error)  # noqa: PT017
    return True


secrets = st.binary(min_size=1).map(lambda key: f"whsec_{base64.b64encode(key).decode()}")
secrets |= st.text(min_size=1).filter(lambda text: not text.startswith("whsec_"))
tokens = st.from_regex(r"[!-~]{1,12}", fullmatch=True)


@given(body=st.text() | st.text().map(str.encode), secret=secrets, webhook_id=tokens)
@settings(deadline=None)
def test_openai_accepts_what_we_sign(body: bytes | str, secret: str, webhook_id: str) -> None:
    """OpenAI's client takes our signature, for every body, secret and id; and so do we."""
    headers = sign(body, secret, webhook_id=webhook_id)
    assert peer_accepts(body, headers, secret)
    assert we_accept(body, headers, secret)


@given(
    body=st.text(max_size=9),
    secret=secrets,
    signatures=st.lists(st.sampled_from(["good", "other", "cut", "v2", "v1a", "empty"]), max_size=4),
    age=st.sampled_from([-400, -200, 0, 200, 400]),
    change=st.sampled_from(["none", "id", "timestamp", "body"]),
    without=st.sampled_from([None, "webhook-id", "webhook-timestamp", "webhook-signature"]) | st.none(),
)
@settings(deadline=None)
def test_openai_judges_alike(
    body: str, secret: str, signatures: list[str], age: int, change: str, without: str | None
) -> None:
    """What OpenAI's client accepts, we accept; what it rejects, we reject."""
    headers = sign(body, secret, webhook_id="wh_1", now=time.time() - age)
    good = headers["webhook-signature"].removeprefix("v1,")
    other = sign(body, f"{secret}x" if not secret.startswith("whsec_") else "x")["webhook-signature"]
    forms = {
        "good": f"v1,{good}",
        "other": other,
        "cut": f"v1,{good[:-1]}",
        "v2": f"v2,{good}",
        "v1a": f"v1a,{good}",
        "empty": "v1,",
    }
    headers["webhook-signature"] = " ".join(forms[name] for name in signatures)
    if change == "id":
        headers["webhook-id"] += "x"
    if change == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    if change == "body":
        body += " "
    if without:
        del headers[without]
    verdict = we_accept(body, headers, secret)
    assert verdict == peer_accepts(body, headers, secret)
    intact = change == "none" and not without and abs(age) < 300
    assert verdict == (intact and "good" in signatures)


def test_openai_reads_the_same() -> None:
    """The same event comes out of OpenAI's client, field by field."""
    headers = sign(BODY, WEBHOOK_SECRET)
    theirs: Any = peer.webhooks.unwrap(BODY, headers)
    ours: Any = unwrap(BODY, headers, WEBHOOK_SECRET)
    assert (ours.id, ours.type, ours.created_at) == (theirs.id, theirs.type, theirs.created_at)
    assert ours.data.call_id == theirs.data.call_id
    pairs = [(header.name, header.value) for header in theirs.data.sip_headers]
    assert [(header.name, header.value) for header in ours.data.sip_headers] == pairs
