"""A condition picks the rows that plain Python picks, and what is none is told by name and place."""

import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.engine.index import Index
from harken.engine.index.expression import evaluate
from harken.errors import InputError

ROWS = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "duration_s": pa.array([0.1, 5.0, None, 30.0], pa.float32()),
        "label": ["dog", "cat", "dog", None],
        "year": pa.array([2001, 2002, 2003, None], pa.int64()),
        "loud": pa.array([True, False, None, True]),
        "two words": ["x", "y", "x", "z"],
    }
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("duration_s < 10 and label == 'dog'", "a"),
        ("duration_s < 10 or label == 'dog'", "abc"),
        ("duration_s == 0.1", "a"),
        ("1 < duration_s <= 30", "bd"),
        ("10 > duration_s", "ab"),
        ("not label == 'dog'", "b"),
        ("label != 'dog'", "b"),
        ("label in ('dog', 'cow')", "ac"),
        ("label not in ['dog', 'cow']", "b"),
        ("label is None", "d"),
        ("label is not None and year >= 2002", "bc"),
        ("loud", "ad"),
        ("not loud", "b"),
        ("loud == false", "b"),
        ("year in (2001, 2003)", "ac"),
        ("year > -1.5", "abc"),
        ("contains(label, 'o')", "ac"),
        ("startswith(label, 'c') or endswith(label, 'g')", "abc"),
        ("col('two words') == 'x'", "ac"),
        ("id == label", ""),
        ("(duration_s > 1) and not (label == 'cat' or loud)", ""),
    ],
)
def test_conditions(text, ids):
    mask = evaluate(text, ROWS)
    assert mask.dtype == bool and "".join(np.array(ROWS["id"].to_pylist())[mask]) == ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lenght < 3", r"there is no column 'lenght'; the index has \['id', 'duration_s'"),
        ("duration_s < 'ten'", r"column 'duration_s' \(float\) cannot be compared with 'ten'"),
        ("year > 99999999999999999999", r"column 'year' \(int64\) cannot be compared with 9999"),
        ("label == 3", r"column 'label' \(string\) cannot be compared with 3"),
        ("label < year", r"column 'label' \(string\) cannot be compared with column 'year' \(int64\)"),
        ("label = 'dog'", "is no condition: .* at character .*; equality is =="),
        ("label == 'dog' and", "is no condition"),
        ("", "is no condition"),
        ("label", "'label' is no condition; wanted a comparison"),
        ("3 < 4", "'3' is no column"),
        ("year in 3", "wants values in brackets"),
        ("year in (1.5,)", "cannot hold one of"),
        ("year is 3", "'is' wants None"),
        ("__import__('os').system('x') == 1", "is no column"),
        ("label == open('x')", "neither a column nor a value"),
        ("contains(year, '2')", "contains wants a column of strings"),
        ("contains(label)", "contains wants a column and a string"),
        ("year + 1 == 2", "'year \\+ 1' is no column"),
        ("label.upper() == 'DOG'", "is no column"),
        ("(" * 3000 + "loud" + ")" * 3000, "is no condition"),
        ("loud or " * 2000 + "loud", "at most 10000 are allowed"),
        ("loud == \0", "is no condition"),
    ],
)
def test_what_is_no_condition_is_named(text, said):
    with pytest.raises(InputError, match=said):
        evaluate(text, ROWS)


@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=20),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.integers(-3, 3),
)
def test_comparisons_equal_pythons(values, sign, bound):
    compare = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt}
    test = compare.get(sign, operator.ge)
    table = pa.table({"x": pa.array(values, pa.int64())})
    expected = [value is not None and test(value, bound) for value in values]
    assert evaluate(f"x {sign} {bound}", table).tolist() == expected
    assert evaluate(f"not x {sign} {bound}", table).tolist() == [
        value is not None and not kept for value, kept in zip(values, expected)
    ]


def test_a_search_takes_a_condition():
    vectors = np.eye(4, dtype=np.float32)
    index = Index.build(vectors, ROWS["id"].to_pylist(), metadata=ROWS.drop_columns(["id"]), dtype="int8")
    hits = index.search(np.ones(4, np.float32), k=3, filter="label == 'dog'")
    assert hits.ids == [["a", "c"]]
    assert index.search(np.ones(4, np.float32), filter="year > 3000").ids == [[]]
    assert index.where("loud").tolist() == [True, False, False, True]
    assert np.array_equal(index.vectors([2, 0]), vectors[[2, 0]])
    assert index.rows([1])[0]["label"] == "cat"
    with pytest.raises(InputError, match=r"positions must be \[m\] of 0..3"):
        index.vectors([4])
