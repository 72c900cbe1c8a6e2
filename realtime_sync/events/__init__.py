"""The wire's vocabulary as msgspec structs: `server`, `client`, and the `objects` they carry."""

from .client import *
from .objects import *
from .server import *
