"""A clock that the test moves."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.1

    def __call__(self) -> float:
        return self.now

    def pass_by(self, ms: float) -> None:
        self.now += ms / 1000
