"""Read `costs.toml`, which a person writes, and the costs in a bundle."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whatsit.bundle.costs import EVERY, HEAVIEST, HIGHEST, MOST_CLASSES, Costs, Prices, Promise
from whatsit.errors import UsageError, suggest
from whatsit.images.names import plain

MAX_BYTES = 4 << 20
LEAST = 1e-6  # of a share, and of what it lacks to 1
_KEYS = ("default", "prices", "never_miss", "only_from", "always_from", "classes", "matrix")
_ARROW = " -> "
_SHARE = re.compile(r"\s*1\s+in\s+(\d{1,9})\s*")


def read_prices(costs: str | Path | Mapping[str, Any], classes: Sequence[str]) -> Prices:
    """Return what a file, or a table of the same form, says of mistakes.

    Args:
        costs: the path of a TOML file, or its contents as a table.
        classes: of the model.

    Raises:
        UsageError: the file is missing, or something in it is wrong.
    """
    if isinstance(costs, Mapping):
        return _Reader("costs", classes).prices(costs)
    path = Path(costs)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: {path.stat().st_size:,} bytes are too many for costs; at most {MAX_BYTES:,}")
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file of costs") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UsageError(f"{path}: the costs cannot be read: {reason}") from None
    return _Reader(str(path), classes).prices(table)


class _Reader:
    """Checks one file; every error names it."""

    def __init__(self, where: str, classes: Sequence[str]) -> None:
        self._where, self._classes = where, tuple(classes)

    def _refuse(self, what: str) -> UsageError:
        return UsageError(f"{self._where}: {what}")

    def prices(self, table: Mapping[str, Any]) -> Prices:
        if len(self._classes) > MOST_CLASSES:
            raise self._refuse(f"the model has {len(self._classes):,} classes; costs are for at most {MOST_CLASSES:,}")
        for key in table:
            if key not in _KEYS:
                raise self._refuse(f"unknown key '{plain(str(key)[:50])}'{suggest(str(key)[:50], _KEYS)}")
        if not table:
            raise self._refuse(f"there is nothing in it; known are: {', '.join(_KEYS)}")
        default = self._price("default", table.get("default", 1))
        prices = {} if "matrix" not in table and "classes" not in table else self._matrix(table)
        prices |= {self._pair(key): self._price(key, price) for key, price in self._part(table, "prices").items()}
        found = Prices(
            default,
            prices,
            {self._label(key): self._limit(key, value) for key, value in self._part(table, "never_miss").items()},
            *(
                {self._label(key): self._share(key, value) for key, value in self._part(table, part).items()}
                for part in ("only_from", "always_from")
            ),
        )
        self._require_sense(found)
        return found

    def _part(self, table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        part = table.get(name, {})
        if not isinstance(part, Mapping):
            raise self._refuse(f"'{name}' is a table; write [{name}] above its lines")
        if odd := [key for key in part if not isinstance(key, str)]:
            raise self._refuse(f"'{name}' has the name {_shown(odd[0])}, which is no text")
        return part

    def _label(self, label: str) -> str:
        if label not in self._classes:
            shown = plain(label[:100])
            raise self._refuse(f"the model has no class '{shown}'{suggest(shown, _some(self._classes, shown))}")
        return label

    def _pair(self, key: str) -> tuple[str, str]:
        """Return truth and answer of `truth -> answer`; a class may hold an arrow too."""
        parts = key.split(_ARROW)
        known = {*self._classes, EVERY}
        pairs = [(_ARROW.join(parts[:k]).strip(), _ARROW.join(parts[k:]).strip()) for k in range(1, len(parts))]
        if not pairs:
            example = f'"{self._classes[0]}{_ARROW}{self._classes[1]}" = 10'
            raise self._refuse(f"'{plain(key[:100])}' is no pair of classes; write truth and answer, such as {example}")
        truth, answer = next((pair for pair in pairs if known.issuperset(pair)), pairs[0])
        for label in (truth, answer):
            if label != EVERY or label in self._classes:
                self._label(label)
        if truth == answer:
            what = "every mistake is 'default'" if truth == EVERY else "a right answer costs nothing"
            raise self._refuse(f"'{plain(key[:100])}' cannot have a price: {what}")
        return truth, answer

    def _number(self, value: Any) -> float | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        try:
            return float(value) if is_number and math.isfinite(value) else None
        except OverflowError:
            return None

    def _price(self, key: str, value: Any) -> float:
        price = self._number(value)
        if price is None or not 0 <= price <= HIGHEST:
            raise self._refuse(
                f"'{plain(key[:100])}' must be a price from 0 to {HIGHEST:,.0f}, received {_shown(value)}"
            )
        return price

    def _share(self, key: str, value: Any) -> float:
        share = self._number(value)
        if share is None or not LEAST <= share <= 1 - LEAST:
            raise self._refuse(
                f"'{plain(key[:100])}' must be a probability between 0 and 1, such as 0.9, received {_shown(value)}"
            )
        return share

    def _limit(self, key: str, value: Any) -> float:
        """Return the largest share that may be missed, of `1 in 100` or a number."""
        words = _SHARE.fullmatch(value) if isinstance(value, str) else None
        limit = 1 / int(words[1]) if words and int(words[1]) else self._number(value)
        if limit is None or not LEAST <= limit < 1:
            example = 'such as "1 in 100" or 0.01'
            raise self._refuse(
                f"'{plain(key[:100])}' must be the largest share that may be missed, {example}, received {_shown(value)}"
            )
        return limit

    def _matrix(self, table: Mapping[str, Any]) -> dict[tuple[str, str], float]:
        """Return the prices of `classes` and `matrix`."""
        labels, rows = table.get("classes"), table.get("matrix")
        texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        if not isinstance(labels, list) or not texts or not isinstance(rows, list):
            raise self._refuse('a matrix needs its classes: write classes = ["a", "b"] and matrix = [[0, 1], [10, 0]]')
        for label in labels:
            self._label(label)
        if missing := [label for label in self._classes if label not in labels]:
            raise self._refuse(f"the matrix lacks the class '{missing[0]}'")
        if len(labels) > len(self._classes):
            raise self._refuse("a class is twice among the classes of the matrix")
        lengths = [len(row) if isinstance(row, list) else 0 for row in rows]
        if lengths != [len(labels)] * len(labels):
            wrong = next((number for number in lengths if number != len(labels)), len(labels))
            raise self._refuse(
                f"the matrix must have {len(labels)} rows of {len(labels)} prices, one of each for a class; "
                f"it has {len(rows)} rows, one of them of {wrong}"
            )
        prices = {}
        for truth, row in zip(labels, rows, strict=True):
            for answer, value in zip(labels, row, strict=True):
                price = self._price(f"{truth}{_ARROW}{answer}", value)
                if truth != answer:
                    prices[truth, answer] = price
                elif price:
                    raise self._refuse(f"the matrix has {price:g} for '{truth}' as '{truth}'; a right answer costs 0")
        return prices

    def _require_sense(self, found: Prices) -> None:
        costs = found.matrix(self._classes)
        for number, label in enumerate(self._classes):
            if not costs[:, number].any():
                what = "every price is 0" if not costs.any() else f"calling everything '{label}' costs nothing"
                raise self._refuse(f"{what}, so '{label}' would always be answered; give its mistakes a price above 0")
        for label in found.never_miss:
            row = self._classes.index(label)
            free = [answer for k, answer in enumerate(self._classes) if k != row and not costs[row, k]]
            if free:
                raise self._refuse(
                    f"'{label}' is not to be missed, but calling it '{free[0]}' costs nothing; give that a price"
                )
        for label in found.only_from:
            for other, name in ((found.never_miss, "never_miss"), (found.always_from, "always_from")):
                if label in other:
                    raise self._refuse(
                        f"'{label}' is in only_from and in {name}, which ask for the opposite; leave one out"
                    )


def _some(classes: Sequence[str], near: str) -> Iterable[str]:
    """Return the classes to name in a message: not hundreds of them."""
    import difflib

    return classes if len(classes) <= 20 else difflib.get_close_matches(near, classes, 5, 0.3) or classes[:5]


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**15:
        return "a huge number"
    return f"'{plain(str(value)[:50])}'"


def costs_from(value: Any, classes: Sequence[str]) -> Costs | None:
    """Return the costs in `bundle.json`.

    Raises `ValueError`, and `LookupError`, `TypeError` or `AttributeError` for JSON of another form.
    """
    if value is None:
        return None
    matrix = tuple(tuple(float(price) for price in row) for row in value["matrix"])
    count = len(classes)
    if count > MOST_CLASSES or [len(row) for row in matrix] != [count] * count:
        raise ValueError("the costs do not fit the classes")
    if not all(0 <= price <= 2 * HIGHEST * HEAVIEST / LEAST for row in matrix for price in row):
        raise ValueError("a price is out of range")
    if any(matrix[k][k] for k in range(count)) or any(not any(row[k] for row in matrix) for k in range(count)):
        raise ValueError("the costs are damaged")
    given = prices_from(value["given"], classes)
    return Costs(matrix, given, tuple(_promise(one, classes) for one in value["promises"]))


def prices_from(value: Any, classes: Sequence[str]) -> Prices:
    """Return prices as `Prices.to_json` wrote them. Raises as `costs_from`."""
    table = dict(value)
    prices = {(str(truth), str(answer)): float(price) for truth, answer, price in table["prices"]}
    parts = {
        name: {str(label): float(share) for label, share in table[name].items()}
        for name in ("never_miss", "only_from", "always_from")
    }
    default, known = float(table["default"]), {*classes, EVERY}
    if not all(0 <= price <= HIGHEST for price in (default, *prices.values())):
        raise ValueError("a price is out of range")
    if not all(known.issuperset(pair) for pair in prices):
        raise ValueError("the costs do not fit the classes")
    if not all(label in classes and 0 < share < 1 for part in parts.values() for label, share in part.items()):
        raise ValueError("a share is out of range")
    return Prices(default, prices, **parts)


def _promise(value: Any, classes: Sequence[str]) -> Promise:
    made = Promise(
        str(value["label"]), float(value["limit"]), float(value["weight"]), int(value["missed"]), int(value["n"])
    )
    sound = made.label in classes and 0 < made.limit < 1 and 1 <= made.weight <= HEAVIEST
    if not sound or not 0 <= made.missed <= made.n < 2**53:
        raise ValueError("a promise is out of range")
    return made
