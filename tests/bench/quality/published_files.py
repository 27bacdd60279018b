"""A miniature of every benchmark in the folders and files its publishers use. Sound and texts number i belong together."""

from pathlib import Path

from .world import write_csv, write_json, write_lines, write_sound

NUM = 6
FIVE = ("{} drips", "A tap does {}", "It is {} again", "Hear {} now", "So {} it is")


def captions(i: int) -> list[str]:
    return [text.format(f"number {i}") for text in FIVE]


def youtube(i: int) -> str:
    return f"a-1b2c3d4{i:02d}"


def audiocaps(root: Path) -> None:
    rows = [
        {"audiocap_id": 10 * i + j, "youtube_id": youtube(i), "start_time": 30, "caption": text}
        for i in range(NUM)
        for j, text in enumerate(captions(i))
    ]
    write_csv(root / "test.csv", rows)
    for i in range(NUM):
        write_sound(root / "audio/test" / f"{youtube(i)}_30.wav", i)


def clotho(root: Path) -> None:
    rows = [
        {"file_name": f"Old Tap {i}.wav", **{f"caption_{j + 1}": c for j, c in enumerate(captions(i))}}
        for i in range(NUM)
    ]
    write_csv(root / "clotho_captions_evaluation.csv", rows)
    for i in range(NUM):
        write_sound(root / "evaluation" / f"Old Tap {i}.wav", i)


def auto_acd(root: Path) -> None:
    names = [f"AudioSet/audio/{youtube(i)}.flac" for i in range(NUM)]
    write_json(root / "test.json", [{"id": name, "caption": captions(i)[:1]} for i, name in enumerate(names)])
    for i, name in enumerate(names):
        write_sound(root / "audio" / name, i)


def valor(root: Path) -> None:
    write_json(root / "desc_test.json", [{"video_id": youtube(i), "desc": captions(i)[0]} for i in range(NUM)])
    for i in range(NUM):
        write_sound(root / "audio" / f"{youtube(i)}.wav", i)


def mecat(root: Path) -> None:
    for i in range(NUM):
        kinds = {"short": captions(i)[:3], "long": [f"A long tale of {c}" for c in captions(i)[:3]]}
        rest = {"speech": ["None"] * 2, "music": ["None"] * 2, "sound": [f"Sound of {i}"] * 3}
        environment = [f"Outdoors near {i}"] * 3
        write_json(
            root / "00A/test" / f"{youtube(i)}.json", {**kinds, **rest, "environment": environment, "domain": "00A"}
        )
        write_sound(root / "00A/test" / f"{youtube(i)}.flac", i)


def vggsounder(root: Path) -> None:
    rows = [
        {"video_id": f"{youtube(i)}_{30:06d}", "label": f"class_{label}", "modality": modality}
        for i in range(NUM)
        for label, modality in ((i, "AV"), (i + 10, "V"))
    ]
    extra = {"background_music": False, "static_image": False, "voice_over": False}
    write_csv(root / "vggsounder.csv", [row | extra for row in rows])
    for i in range(NUM):
        write_sound(root / "audio" / f"{youtube(i)}_{30:06d}.wav", i)


def epic_sounds(root: Path) -> None:
    rows = [
        {
            "annotation_id": f"P01_01_{i}",
            "participant_id": "P01",
            "video_id": "P01_01",
            "start_timestamp": f"00:00:00.{250 * i % 1000:03d}" if i < 4 else f"00:00:01.{250 * (i - 4):03d}",
            "stop_timestamp": f"00:00:00.{250 * i + 200:03d}" if i < 4 else f"00:00:01.{250 * (i - 4) + 200:03d}",
            "description": "lid",
            "class": f"class {i}",
            "class_id": i,
        }
        for i in range(NUM)
    ]
    write_csv(root / "EPIC_Sounds_validation.csv", rows)
    write_sound(root / "audio/P01_01.wav", *range(NUM))


def hd_epic(root: Path) -> None:
    video = "P02-20240101-101010"
    rows = [
        {
            "participant_id": "P02",
            "video_id": video,
            "start_timestamp": "00:00:00.000",
            "stop_timestamp": "00:00:00.000",
            "start_sample": 12000 * i,
            "stop_sample": 12000 * i + 9600,
            "class": f"class {i}",
            "class_id": i,
        }
        for i in range(NUM)
    ]
    write_csv(root / "HD-EPIC-Sounds.csv", rows)
    write_sound(root / "audio" / f"{video}.wav", *range(NUM))


def esc50(root: Path) -> None:
    rows = [
        {
            "filename": f"1-{i}-A-{i}.wav",
            "fold": 1 + i % 5,
            "target": i,
            "category": f"class_{i}",
            "src_file": i,
            "take": "A",
        }
        for i in range(NUM)
    ]
    write_csv(root / "meta/esc50.csv", rows)
    for i in range(NUM):
        write_sound(root / "audio" / f"1-{i}-A-{i}.wav", i)


def fsd50k(root: Path) -> None:
    rows = [{"fname": 100 + i, "labels": f"class_{i},class_{i % 2 + 10}", "mids": "/m/1,/m/2"} for i in range(NUM)]
    write_csv(root / "FSD50K.ground_truth/eval.csv", rows)
    for i in range(NUM):
        write_sound(root / "FSD50K.eval_audio" / f"{100 + i}.wav", i)


def librisqa(root: Path) -> None:
    rows = [
        {
            "speech_path": f"test-clean/61/70968/61-70968-{i:04d}.wav",
            "question": f"Question {i}, {which}?",
            "answer": f"It is {i}.",
            "text": "words",
            "duration": 1.0,
        }
        for i in range(NUM)
        for which in ("who", "where")
    ]
    write_json(root / "LibriSQA-PartI/LibriSQA-PartI-test.json", rows)
    for i in range(NUM):
        write_sound(root / "LibriSpeech/test-clean/61/70968" / f"61-70968-{i:04d}.flac", i)


def mmau_mini(root: Path) -> None:
    rows = [
        {
            "id": f"id{i}",
            "audio_id": f"./test-mini-audios/id{i}.wav",
            "question": "Which one is it?",
            "choices": [f"number {(i + j - 1) % NUM}" for j in range(4)],
            "answer": f"number {i}",
            "dataset": "x",
            "task": ("sound", "speech", "music")[i % 3],
            "split": "test-mini",
            "category": "c",
            "difficulty": "easy",
        }
        for i in range(NUM)
    ]
    write_json(root / "mmau-test-mini.json", rows)
    for i in range(NUM):
        write_sound(root / "test-mini-audios" / f"id{i}.wav", i)


def sounds(root: Path) -> None:
    rows = [
        {
            "id": f"s{i}",
            "path": f"audio/s{i}.wav",
            "caption": f"Sound {i}.",
            "captions": [f"Sound {i}.", f"A {i}."],
            "split": "test",
            "group": f"group_{i}",
        }
        for i in range(NUM)
    ]
    write_lines(root / "manifest.jsonl", rows)
    for i in range(NUM):
        write_sound(root / "audio" / f"s{i}.wav", i)


FILES = {
    "audiocaps": audiocaps,
    "clotho": clotho,
    "auto-acd": auto_acd,
    "valor": valor,
    "mecat": mecat,
    "vggsounder": vggsounder,
    "epic-sounds": epic_sounds,
    "hd-epic": hd_epic,
    "esc50": esc50,
    "fsd50k": fsd50k,
    "librisqa": librisqa,
    "mmau-mini": mmau_mini,
    "sounds": sounds,
}


def queries(
    root: Path, ids: list[str], originals: list[list[str]], *, negative_captions: list[list[str]] | None = None
) -> None:
    """The five files of user-intent queries; clip i must not be taken for clip i + 1."""
    others = negative_captions or [originals[(i + 1) % len(ids)] for i in range(len(ids))]
    for kind in ("question", "imperative", "paraphrase", "tagging"):
        rows = [
            {"audio_id": name, "query_type": kind, "generated_query": f"{kind} {i}", "original_captions": originals[i]}
            for i, name in enumerate(ids)
        ]
        write_lines(root / f"test_{kind}_queries.jsonl", rows)
    rows = [
        {"audio_id": name, "negative_query": f"Number {i}, nothing else", "negative_captions": others[i]}
        for i, name in enumerate(ids)
    ]
    write_lines(root / "test_negative_queries.jsonl", rows)
