"""Conditions on the columns of an index, as text:  duration_s < 10 and label in ('dog', 'cat')

    == != < <= > >=      numbers, strings, true and false; 1 < duration_s < 10 reads as written
    in (...)  not in     one of several values
    is None  is not None whether a row has a value
    and or not ( )
    contains(uri, 'train/')  startswith(id, 'a')  endswith(uri, '.flac')
    col('any name')      a column whose name is no word

A row without a value fails every comparison, as in SQL: `not label == 'dog'` leaves it out, `label is None` takes it.
Nothing is run but these: names are columns, never Python.

Source: own; Python's grammar (module ast), Arrow's compute functions with Kleene's logic.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError

MAX_CHARACTERS = 10_000
_COMPARE: dict[type[ast.cmpop], tuple[Callable[..., Any], type[ast.cmpop]]] = {
    # Function, and the operator with sides exchanged.
    ast.Eq: (pc.equal, ast.Eq),
    ast.NotEq: (pc.not_equal, ast.NotEq),
    ast.Lt: (pc.less, ast.Gt),
    ast.LtE: (pc.less_equal, ast.GtE),
    ast.Gt: (pc.greater, ast.Lt),
    ast.GtE: (pc.greater_equal, ast.LtE),
}
_TEXT = {"contains": pc.match_substring, "startswith": pc.starts_with, "endswith": pc.ends_with}
_LITERALS = {"true": True, "false": False, "null": None}


def evaluate(text: str, table: pa.Table) -> np.ndarray:
    """Which rows of a table satisfy a condition: bool [n].

    Raises:
        InputError: the text is no condition, names no column of the table, or compares a column with what it cannot hold.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"filter has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found = _Condition(text, table).mask(tree)
    except SyntaxError as error:
        hint = "; equality is ==" if "=" in text and "==" not in text else ""
        raise InputError(f"filter {text!r}: is no condition: {error.msg} at character {error.offset}{hint}") from None
    except (RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"filter {text[:80]!r}: is no condition that can be read: {type(error).__name__}") from None
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)


class _Condition:
    def __init__(self, text: str, table: pa.Table) -> None:
        self.text, self.table = text, table

    def fail(self, what: str) -> InputError:
        return InputError(f"filter {self.text!r}: {what}")

    def mask(self, node: ast.expr) -> Any:
        """A condition as nullable booleans, one a row."""
        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            masks = [self.mask(value) for value in node.values]
            for more in masks[1:]:
                masks[0] = join(masks[0], more)
            return masks[0]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self.mask(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            masks = [self.compare(a, op, b) for a, op, b in zip(sides, node.ops, sides[1:])]
            for more in masks[1:]:
                masks[0] = pc.and_kleene(masks[0], more)
            return masks[0]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TEXT:
            return self.text_test(node.func.id, node)
        name = self.column_name(node)
        if name is not None and pa.types.is_boolean(self.column(name).type):
            return self.column(name)
        raise self.fail(f"{ast.unparse(node)!r} is no condition; wanted a comparison such as duration_s < 10")

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        name, other = self.column_name(left), right
        if name is None and type(op) in _COMPARE:
            name, other, op = self.column_name(right), left, _COMPARE[type(op)][1]()
        if name is None:
            raise self.fail(f"{ast.unparse(left)!r} is no column; the index has {self.table.column_names}")
        column = self.column(name)
        if isinstance(op, ast.Is | ast.IsNot):
            if self.literal(other) is not None:
                raise self.fail("'is' wants None; compare values with ==")
            return pc.is_null(column) if isinstance(op, ast.Is) else pc.is_valid(column)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(other, ast.Tuple | ast.List | ast.Set):
                raise self.fail(f"'in' wants values in brackets, got {ast.unparse(other)!r}")
            values = [self.value(name, column, self.literal(item)) for item in other.elts]
            try:
                wanted = pa.array(values).cast(column.type)
            except (pa.ArrowException, OverflowError):
                raise self.fail(f"column {name!r} ({column.type}) cannot hold one of {values}") from None
            among = pc.if_else(pc.is_valid(column), pc.is_in(column, value_set=wanted), pa.scalar(None, pa.bool_()))
            return among if isinstance(op, ast.In) else pc.invert(among)
        other_name = self.column_name(other)
        against = self.column(other_name) if other_name is not None else self.literal(other)
        if other_name is None:
            against = self.value(name, column, against)
        try:
            return _COMPARE[type(op)][0](column, against)
        except (pa.ArrowException, OverflowError, TypeError):
            told = f"column {other_name!r} ({against.type})" if other_name else repr(against)
            raise self.fail(f"column {name!r} ({column.type}) cannot be compared with {told}") from None

    def text_test(self, function: str, node: ast.Call) -> Any:
        names = [self.column_name(argument) for argument in node.args]
        if len(node.args) != 2 or node.keywords or names[0] is None:
            raise self.fail(f"{function} wants a column and a string, got {ast.unparse(node)!r}")
        column, pattern = self.column(names[0]), self.literal(node.args[1])
        if not isinstance(pattern, str) or not _is_text(column.type):
            raise self.fail(f"{function} wants a column of strings and a string; {names[0]!r} is {column.type}")
        return _TEXT[function](column, pattern)

    def value(self, name: str, column: pa.ChunkedArray, given: Any) -> Any:
        """A literal that a column may be compared with."""
        kind = column.type
        number = isinstance(given, int | float) and not isinstance(given, bool)
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        fits = (
            (number and numeric)
            or (isinstance(given, str) and _is_text(kind))
            or (isinstance(given, bool) and pa.types.is_boolean(kind))
        )
        if not fits:
            raise self.fail(f"column {name!r} ({kind}) cannot be compared with {given!r}")
        # As the column rounds it, so that a float32 column equals the number that was put in.
        return pa.scalar(float(given), kind).as_py() if pa.types.is_floating(kind) else given

    def literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self.literal(node.operand)
            if isinstance(number, int | float):
                return (operator.neg if isinstance(node.op, ast.USub) else operator.pos)(number)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
            return node.value
        if isinstance(node, ast.Name) and node.id in _LITERALS:
            return _LITERALS[node.id]
        raise self.fail(
            f"{ast.unparse(node)!r} is neither a column nor a value; the index has {self.table.column_names}"
        )

    def column_name(self, node: ast.expr) -> str | None:
        """The column a node names; None where it is no name."""
        if isinstance(node, ast.Name) and node.id not in _LITERALS:
            return node.id
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "col":
            if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                return node.args[0].value
            raise self.fail(f"col wants one string, got {ast.unparse(node)!r}")
        return None

    def column(self, name: str) -> pa.ChunkedArray:
        if name not in self.table.column_names:
            raise self.fail(f"there is no column {name!r}; the index has {self.table.column_names}")
        return self.table[name]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
