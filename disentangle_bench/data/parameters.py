"""Parameters of a data set, as a grid or a caller gives them: read one by one, or refused with what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from disentangle_bench.errors import BenchError, unknown_name


class Parameters:
    """The parameters `given` to the data set `name`, which knows those of `known`.

    Raises BenchError for others, and in each method for a value that is not allowed.
    """

    def __init__(self, name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
        self.name, self.given = name, given
        for key in given:
            if key not in known:
                raise unknown_name(f"parameter of {name}", key, known)

    def whole(self, key: str, default: int, lowest: int, highest: int) -> int:
        """A whole number in lowest..highest."""
        value = self.given.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self.refused(key, f"a whole number of {lowest} to {highest}")
        return value

    def pair(self, key: str, default: int, lowest: int, highest: int) -> tuple[int, int]:
        """Two whole numbers; one stands for both."""
        value = self.given.get(key, default)
        both = tuple(value) if isinstance(value, list | tuple) else (value, value)
        fits = [type(number) is int and lowest <= number <= highest for number in both]
        if len(both) != 2 or not all(fits):
            raise self.refused(key, f"a whole number of {lowest} to {highest}, or a list of two")
        return both[0], both[1]

    def some_of(self, key: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """Different names of those that are allowed, in the order given; all of them where none is."""
        value = self.given.get(key, allowed)
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(each, str) and each in allowed for each in value)
            or len(set(value)) < len(value)
        ):
            raise self.refused(key, f"a list of different ones of {', '.join(allowed)}")
        return tuple(value)

    def one_of(self, key: str, default: Any, allowed: Sequence[Any]) -> Any:
        """One of the values that are allowed."""
        value = self.given.get(key, default)
        if isinstance(value, bool) or value not in allowed:
            raise self.refused(key, f"one of {', '.join(map(repr, allowed))}")
        return value

    def refuse(self, keys: Iterable[str], why: str) -> None:
        """Raise BenchError where one of these is given."""
        for key in keys:
            if key in self.given:
                raise BenchError(f"{self.name}: parameters.{key} = {self._shown(key)}: {why}; leave it out")

    def refused(self, key: str, needed: str) -> BenchError:
        """What to say of a value that is not allowed."""
        return BenchError(f"{self.name}: parameters.{key} = {self._shown(key)}: needed is {needed}")

    def _shown(self, key: str) -> str:
        """The value as it was written."""
        value = self.given.get(key)
        return repr(list(value) if isinstance(value, tuple) else value)
