"""A run writes a line a row and task, goes on where it was killed, and an item that fails has a named error line."""

import pytest

from harken.errors import BackendError, FileFormatError, InputError
from harken.training.captions import PIPELINES, NoReply, load_tasks
from harken.training.captions.lines import read_captions, read_lines, with_captions
from harken.training.captions.run import MAX_FAILURES_IN_A_ROW, write_captions
from harken.training.captions.task import CaptionTask, Example, describe, to_json
from harken.training.data import Row

from ..data.miniatures import write_sound
from .fake import Rule

ANSWER = '{"long": "A kettle boils for long.", "short": "A kettle", "tags": ["kettle", "steam", "kettle"]}'
PLAIN = CaptionTask("plain", "Be brief", "Say {caption} otherwise", {"query": "text"})


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    return [
        Row(
            f"r{i}",
            write_sound(tmp_path / f"{i}.wav", i),
            long=(f"Sound {i} of a kettle",),
            metadata={"title": f"t{i}"},
        )
        for i in range(4)
    ]


def test_aurola_hears_the_sound_and_knows_its_metadata(tmp_path, rows):
    rule = Rule(lambda request: f"Here it is:\n```json\n{ANSWER}\n```")
    report = write_captions(rows, PIPELINES["aurola"], rule, tmp_path / "out.jsonl")
    assert (report.num_done, report.num_failed, report.num_before) == (4, 0, 0)
    asked = rule.asked[1]
    assert asked.audio.sample_rate_hz == 16000 and len(asked.audio.samples) == 8000
    assert "title: t1" in asked.text and "caption: Sound 1 of a kettle" in asked.text and len(asked.examples) == 2
    filled = list(with_captions(rows, tmp_path / "out.jsonl"))
    assert (filled[2].long, filled[2].short, filled[2].tags) == (
        ("A kettle boils for long.",), ("A kettle",), ("kettle", "steam")
    )  # fmt: skip


def test_oea_asks_for_five_kinds_of_queries_of_the_captions_length(tmp_path, rows):
    rows = [Row("r", None, long=("A kettle boils on a stove",), negatives=("A kettle whistles",))]
    rule = Rule(lambda request: "Query: where does a kettle boil now", hears=False)
    report = write_captions(rows, PIPELINES["oea"], rule, tmp_path / "out.jsonl")
    assert report.num_done == 5
    assert set(read_captions(tmp_path / "out.jsonl")["r"]) == {
        "question",
        "imperative",
        "paraphrase",
        "tagging",
        "negative",
    }
    assert "Use 4 to 8 words" in rule.asked[0].text and "Negative: A kettle whistles" in rule.asked[4].text
    assert (rule.asked[0].temperature, rule.asked[0].top_p, rule.asked[0].max_tokens) == (0.35, 0.9, 256)


def test_a_reply_of_the_wrong_length_is_asked_for_again_with_another_seed(tmp_path):
    row = Row("r", None, long=("A kettle boils",))
    replies = iter(["much too long a query for such a caption", "does a kettle boil"])
    rule = Rule(lambda request: next(replies), hears=False)
    assert write_captions([row], PIPELINES["oea"][:1], rule, tmp_path / "a.jsonl").num_done == 1
    assert rule.asked[0].seed != rule.asked[1].seed
    stubborn = Rule(lambda request: "one two three four five six", hears=False)
    assert write_captions([row], PIPELINES["oea"][:1], stubborn, tmp_path / "b.jsonl").num_failed == 1
    (line,) = read_lines(tmp_path / "b.jsonl")
    assert line["error"] == "r question: query has 6 words; wanted 1 to 5" and len(stubborn.asked) == 2


def test_robust_atr_asks_seven_ways(tmp_path, rows):
    rule = Rule(lambda request: "Rain.")
    assert write_captions(rows[:1], PIPELINES["robust_atr"], rule, tmp_path / "out.jsonl").num_done == 7
    assert len({request.text for request in rule.asked}) == 7


def test_an_item_that_fails_is_a_named_line_and_the_others_go_on(tmp_path, rows):
    rows[1] = Row("gone", tmp_path / "gone.wav")
    answer = lambda request: NoReply(f"{request.name}: no") if "r2" in request.name else ANSWER
    report = write_captions(rows, PIPELINES["aurola"], Rule(answer), tmp_path / "out.jsonl")
    assert (report.num_done, report.num_failed) == (2, 2)
    errors = {line["id"]: line["error"] for line in read_lines(tmp_path / "out.jsonl") if "error" in line}
    assert (
        set(errors) == {"gone", "r2"} and "there is no such file" in errors["gone"] and errors["r2"] == "r2 aurola: no"
    )
    again = Rule(lambda request: ANSWER)
    assert write_captions(rows, PIPELINES["aurola"], again, tmp_path / "out.jsonl").num_before == 4 and not again.asked
    report = write_captions(rows, PIPELINES["aurola"], again, tmp_path / "out.jsonl", retry_errors=True)
    assert (report.num_before, report.num_done, report.num_failed) == (2, 1, 1)
    assert set(read_captions(tmp_path / "out.jsonl")) == {"r0", "r2", "r3"}


@pytest.mark.parametrize("cut", [1, 30, 90])
def test_a_killed_run_goes_on_to_the_same_file(tmp_path, rows, cut):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    answer = lambda request: f"reply to {request.name} with {request.seed}"
    write_captions(rows, [PLAIN], Rule(answer), whole)
    data = whole.read_bytes()
    killed.write_bytes(data[: len(data) - cut])
    rule = Rule(answer)
    report = write_captions(rows, [PLAIN], rule, killed, batch_size=1)
    assert killed.read_bytes() == data and report.num_before + len(rule.asked) == 4 and report.num_before >= 2


def test_a_file_is_gone_on_with_only_by_what_began_it(tmp_path, rows):
    out = tmp_path / "out.jsonl"
    write_captions(rows, [PLAIN], Rule(lambda request: "x"), out)
    for change in ({"seed": 1}, {"captioner": Rule(lambda request: "x", name="other")}):
        arguments = {"captioner": Rule(lambda request: "x"), "seed": 0, **change}
        with pytest.raises(InputError, match="'plain' of 'r0' was made with .*the same model, task and seed"):
            write_captions(rows, [PLAIN], arguments["captioner"], out, seed=arguments["seed"])
    other = CaptionTask("other", "Be brief", "Say {caption}", {"query": "text"})
    assert write_captions(rows, [PLAIN, other], Rule(lambda request: "y"), out).num_done == 4


def test_a_model_that_answers_nothing_any_more_ends_the_run_and_keeps_what_was_done(tmp_path):
    rows = [Row(f"r{i}", None, long=("x",)) for i in range(200)]
    answer = lambda request: "fine" if request.name in ("r0 plain", "r1 plain") else NoReply("down")
    with pytest.raises(BackendError, match="failed one after another"):
        write_captions(rows, [PLAIN], Rule(answer), tmp_path / "out.jsonl", batch_size=10)
    lines = list(read_lines(tmp_path / "out.jsonl"))
    assert MAX_FAILURES_IN_A_ROW <= len(lines) < 80 and "reply" in lines[0] and "reply" in lines[1]


def test_what_a_task_wants_and_a_row_lacks_is_an_error_line(tmp_path):
    rows = [Row("a", None, long=("x",)), Row("b", None)]
    report = write_captions(rows, PIPELINES["oea"][4:], Rule(lambda request: "q", hears=False), tmp_path / "out.jsonl")
    assert report.num_failed == 2
    assert [line["error"] for line in read_lines(tmp_path / "out.jsonl")] == [
        "a: has no negative; task 'negative' wants one", "b: has no caption; task 'negative' wants one"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("no object", "wanted a JSON object"), ('{"long": "x"', "wanted a JSON object"), ('{"long": "x"}', "short is None"),
        ('{"long": "", "short": "y", "tags": ["z"]}', "long is ''"), ('{"long": "x", "short": "y", "tags": []}', "tags is"),
        ('{"long": "x", "short": "y", "tags": 3}', "tags is 3"),
    ],
)  # fmt: skip
def test_a_reply_of_another_form_is_refused(reply, message):
    with pytest.raises(InputError, match=message):
        PIPELINES["aurola"][0].parse(reply, {})


def test_tags_with_commas_are_a_list_too():
    got = PIPELINES["aurola"][0].parse('{"long": "x", "short": "y", "tags": "dog, rain , dog"}', {})
    assert got["tags"] == ["dog", "rain"]


def test_long_metadata_is_cut_and_none_is_said():
    assert len(describe(Row("a", None, metadata={"description": "x" * 5000}))) == 1000
    assert describe(Row("a", None)) == "nothing"


def test_tasks_are_written_and_read_back(tmp_path):
    path = tmp_path / "tasks.json"
    for tasks in PIPELINES.values():
        path.write_text(to_json(tasks))
        assert load_tasks(path) == tasks
    for content, message in (
        ("{", "cannot be read as tasks"), ('[{"name": "a", "wording": 1}]', "wording"), ('[{"name": "a"}]', "missing"),
        ('[{"name": "a", "system": "", "prompt": "{sound}", "reply": {"x": "text"}}]', r"place \{sound\}"),
        ('[{"name": "a", "system": "", "prompt": "{", "reply": {"x": "text"}}]', "brace"),
        ('[{"name": "a", "system": "", "prompt": "x", "reply": {"x": "number"}}]', "wanted names with one of text, list"),
    ):  # fmt: skip
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            load_tasks(path)


def test_wrong_use_is_refused(tmp_path, rows):
    rule = Rule(lambda request: "x", hears=False)
    with pytest.raises(InputError, match="wants a model that hears; rule does not"):
        write_captions(rows, PIPELINES["aurola"], rule, tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="wanted different names"):
        write_captions(rows, [PLAIN, PLAIN], rule, tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(FileFormatError, match="out.jsonl:1: is no line of a captions file"):
        write_captions(rows, [PLAIN], rule, tmp_path / "out.jsonl")


def test_examples_fill_the_same_places():
    task = CaptionTask("t", "s", "Say {caption}", {"q": "text"}, examples=(Example({"caption": "rain"}, "It rains"),))
    assert task.fill(task.examples[0].given) == "Say rain"
