"""Adapters of the datasets with questions, and of the one with sentences alone: LibriSQA, MMAU, NLI.

Source: the datasets' published files.
"""

import hashlib
import re

from .adapter import Adapter, Context, split_name
from .record import Record, RecordError
from .row import Row

# "A. text", "B) text", "(C) text", "D: text", at the beginning or after a blank.
_OPTION = re.compile(r"(?:^|\s)\(?([A-Z])[.):：]\s*")
_LETTER = re.compile(r"\(?([A-Z])(?:[.):\s]|$)")


def _librisqa(record: Record, context: Context) -> Row:
    """Part I has a free question and answer, part II a question with options and a letter."""
    path = record.text("speech_path")
    utterance = path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    choices: tuple[str, ...] = ()
    if "question_and_option" in record.fields:
        question, options = split_options(record.text("question_and_option"), "question_and_option")
        answer, choices = _chosen(record.text("answer"), options), tuple(options.values())
    else:
        question, answer = record.text("question"), record.text("answer")
    # LibriSpeech's own tree, besides the path that is told.
    parts = utterance.split("-")
    names = [path] + (["/".join([*parts[:2], utterance])] if len(parts) == 3 else [])
    return Row(
        # An utterance may have several questions.
        f"{utterance}#{hashlib.sha256(question.encode()).hexdigest()[:8]}",
        context.sounds.find(names, "speech_path"),
        question=question,
        answer=answer,
        choices=choices,
        source="LibriSQA",
        split=context.split,
        origins=(f"librispeech:{utterance}",),
        duration_s=record.optional_number("duration"),
        metadata=record.rest("text", "answer_and_analysis"),
    )


def split_options(text: str, column: str) -> tuple[str, dict[str, str]]:
    """The question and its options by letter, A first.

    Raises:
        RecordError: there are no two options A and B.
    """
    marks: list[re.Match[str]] = []
    for mark in _OPTION.finditer(text):
        if mark[1] == chr(ord("A") + len(marks)):
            marks.append(mark)
    if len(marks) < 2:
        raise RecordError(column, f"holds no options A and B: {text[:60]!r}")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    options = {mark[1]: text[mark.end() : end].strip() for mark, end in zip(marks, ends)}
    return text[: marks[0].start()].strip(), options


def _chosen(answer: str, options: dict[str, str]) -> str:
    match = _LETTER.match(answer)
    if match is not None and match[1] in options:
        return options[match[1]]
    if answer in options.values():
        return answer
    raise RecordError("answer", f"is {answer[:40]!r}; wanted one of {', '.join(options)}")


def _mmau(record: Record, context: Context) -> Row:
    name, audio, choices = record.text("id"), record.text("audio_id"), record.texts("choices")
    answer = record.text("answer")
    if answer not in choices:
        raise RecordError("answer", f"is {answer!r}; wanted one of the choices {list(choices)}")
    return Row(
        name,
        context.sounds.find([audio], "audio_id"),
        question=record.text("question"),
        answer=answer,
        choices=choices,
        source="MMAU",
        split=split_name(record.text("split")) if record.fields.get("split") in ("test", "val") else context.split,
        metadata=record.rest("dataset", "task", "category", "sub-category", "difficulty", "split"),
    )


def _nli(record: Record, context: Context) -> Row:
    """A premise and what follows from it; what contradicts it is a negative."""
    return Row(
        f"{context.path.stem}:{record.number}",
        None,
        long=(record.text("sent0"), record.text("sent1")),
        negatives=record.texts("hard_neg", allow_none=True),
        source="NLI",
        split=context.split or "train",
    )


QUESTIONS = (
    Adapter(
        "librisqa",
        "JSON, part I (speech_path, question, answer, text, duration) or II (question_and_option, answer)",
        _librisqa,
        licence="speech: CC BY 4.0",
    ),
    Adapter("mmau", "JSON (id, audio_id, question, choices, answer, task, ...)", _mmau),
    Adapter("nli", "CSV (sent0, sent1, hard_neg); sentences alone, sent1 follows from sent0", _nli),
)
