"""Errors that hold no secret."""

import traceback

from secrets_watch import PROXY_LOGIN as LOGIN
from secrets_watch import PROXY_PASSWORD as PASSWORD
from secrets_watch import PROXY_TOKEN as TOKEN

IN_URL = LOGIN.removeprefix("ann:")
SECRETS = (PASSWORD, IN_URL, TOKEN, "s3cret")


def held_by(error: BaseException) -> str:
    """All text of an error, its traceback and the errors behind it, also those that no traceback shows."""
    texts = ["".join(traceback.format_exception(error))]
    pending: list[BaseException | None] = [error]
    while pending:
        if (one := pending.pop()) is not None:
            texts += [str(one), repr(one), repr(vars(one)), repr(one.args)]
            pending += [one.__cause__, one.__context__]
    return "\n".join(texts)


def check_silent_about_secrets(error: BaseException) -> None:
    """Neither the error, nor one behind it, nor a traceback shows a secret."""
    text = held_by(error)
    assert not any(secret in text for secret in SECRETS)
