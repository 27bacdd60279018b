"""A small annotation file of every dataset, in each layout that is published, with texts of our own and sounds of noise.

FILES[dataset] = [(file name, content, sounds it speaks of)]
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import soundfile

FIVE = [f"Water drips {i} times" for i in range(5)]


def as_csv(*rows: dict) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def clotho(name: str) -> dict:
    return {"file_name": name, **{f"caption_{i + 1}": text for i, text in enumerate(FIVE)}}


AUDIOCAPS_CSV = as_csv(
    {"audiocap_id": 7, "youtube_id": "--a1b2c3d4e", "start_time": 30, "caption": "A kettle, then a click"},
    {"audiocap_id": 8, "youtube_id": "--a1b2c3d4e", "start_time": 30, "caption": "Steam hisses"},
    {"audiocap_id": 9, "youtube_id": "Yz_9a1b2c3d", "start_time": 0, "caption": "Steam hisses"},
)
MECAT_FIELDS = {
    "long": ["Gravel crunches slowly under boots"] * 3, "short": ["Steps on gravel"] * 3, "speech": ["None"] * 3,
    "music": ["None"] * 3, "sound": ["Steps"] * 3, "environment": ["Outdoors"] * 3, "domain": "00A",
}  # fmt: skip
EPIC = {
    "annotation_id": "P01_01_0", "participant_id": "P01", "video_id": "P01_01", "start_timestamp": "00:00:00.100",
    "stop_timestamp": "00:00:00.350", "description": "lid", "class": "metal-only collision", "class_id": 4,
}  # fmt: skip
HD_EPIC = {
    "participant_id": "P02", "video_id": "P02-20240101-101010", "start_timestamp": "00:00:00.250",
    "stop_timestamp": "00:00:00.500", "start_sample": 12000, "stop_sample": 24000, "class": "water", "class_id": 9,
}  # fmt: skip
WAVCAPS = {"id": "81", "duration": 4.5, "caption": "A gate squeaks", "title": "gate", "author": "x", "href": "y"}

FILES: dict[str, list[tuple[str, str, list[str]]]] = {
    "audiocaps": [
        ("test.csv", AUDIOCAPS_CSV, ["--a1b2c3d4e_30.wav", "Yz_9a1b2c3d_0.flac"]),
        ("val.json", json.dumps([{"video_id": "--a1b2c3d4e_30", "caption": FIVE}]), ["--a1b2c3d4e_30.wav"]),
    ],
    "clotho": [
        ("clotho_captions_evaluation.csv", as_csv(clotho("Old Tap.wav"), clotho("Well.wav")), ["Old Tap.wav", "Well.wav"]),
        ("descs_cap_test.json", json.dumps([{"video_id": "Old Tap.wav", "caption": FIVE}]), ["Old Tap.wav"]),
        ("descs_cap_trainval.json", json.dumps([{"video_id": "Well.wav", "caption": c} for c in FIVE]), ["Well.wav"]),
        (
            "caption_annotation.json",
            json.dumps({"annotations": [{"image_id": "Well.wav", "caption": c} for c in FIVE]}),
            ["Well.wav"],
        ),
    ],
    "auto_acd": [
        (
            "test.json",
            json.dumps([{"id": "AudioSet/audio/a-1b2c3d4e5.flac", "caption": ["A hall echoes"]}]),
            ["AudioSet/audio/a-1b2c3d4e5.flac"],
        ),
        (
            "train.csv",
            as_csv(
                {"youtube_id": "a-1b2c3d4e5", "caption": "A hall echoes"},
                {"youtube_id": "a-1b2c3d4e5", "caption": "Steps echo"},
            ),
            ["Ya-1b2c3d4e5.flac"],
        ),
    ],
    "valor": [("desc_test.json", json.dumps([{"video_id": "a-1b2c3d4e5", "desc": "A horse trots"}]), ["a-1b2c3d4e5.mp3"])],
    "audiosetcaps": [
        ("AudioSetCaps_caption.csv", as_csv({"id": "Y_7a1b2c3d4e", "caption": "A bell"}), ["_7a1b2c3d4e.flac"]),
        (
            "VGGSound_AudioSetCaps_caption.csv",
            as_csv({"id": "_7a1b2c3d4e_000883", "caption": "A bell"}),
            ["_7a1b2c3d4e_000883.wav"],
        ),
        (
            "YouTube-8M_AudioSetCaps_caption.csv",
            as_csv({"id": "_7a1b2c3d4e_4_10", "caption": "A bell"}),
            ["_7a1b2c3d4e_4_10.mp3"],
        ),
    ],
    "audioverse": [
        (
            "audioverse.json",
            json.dumps(
                [
                    {"id": "x/one.wav", "caption_long": "Long rain on tin", "caption_short": "Rain", "caption_tag": ["rain"]},
                    {"id": "two", "caption_long": "A dog far away", "caption_short": "Dog", "caption_tag": []},
                    {"id": "a-1b2c3d4e5", "caption": "A horse trots"},
                ]
            ),
            ["x/one.wav", "two.flac", "a-1b2c3d4e5.wav"],
        )
    ],
    "wavcaps": [
        ("sb_final.json", json.dumps([WAVCAPS, {**WAVCAPS, "id": "82", "duration": 40}]), ["81.flac", "82.flac"]),
        ("fsd_final.json", json.dumps({"num": 1, "data": [{**WAVCAPS, "file_name": "Old Tap.wav"}]}), ["81.flac"]),
        ("as_final.json", json.dumps({"data": [{**WAVCAPS, "id": "Y--a1b2c3d4e.wav"}]}), ["Y--a1b2c3d4e.flac"]),
        ("bbc_final.json", json.dumps({"data": [WAVCAPS]}), ["BBC_Sound_Effects/81.flac"]),
    ],
    "esc50": [
        (
            "esc50.csv",
            as_csv(
                {"filename": "1-5-A-0.wav", "fold": 1, "target": 0, "category": "glass_breaking", "src_file": 5},
                {"filename": "2-6-A-1.wav", "fold": 2, "target": 1, "category": "rain", "src_file": 6},
            ),
            ["1-5-A-0.wav", "2-6-A-1.wav"],
        )
    ],
    "fsd50k": [
        ("eval.csv", as_csv({"fname": 37, "labels": "Chink_and_clink,Glass", "mids": "/m/1,/m/2"}), ["37.wav"]),
        (
            "dev.csv",
            as_csv(
                {"fname": 38, "labels": "Rain", "mids": "/m/3", "split": "train"},
                {"fname": 39, "labels": "Rain", "mids": "/m/3", "split": "val"},
            ),
            ["38.wav", "39.wav"],
        ),
    ],
    "vggsounder": [
        (
            "vggsounder.csv",
            as_csv(
                *(
                    {
                        "video_id": "a-1b2c3d4e5_000030", "label": label, "modality": modality,
                        "background_music": False, "static_image": False, "voice_over": True,
                    }
                    for label, modality in (("dog barking", "AV"), ("wind noise", "A"), ("smiling", "V"))
                )
            ),
            ["a-1b2c3d4e5_000030.wav"],
        )
    ],
    "epic_sounds": [("EPIC_Sounds_validation.csv", as_csv(EPIC), ["P01/P01_01.wav"])],
    "hd_epic": [("HD-EPIC-Sounds.csv", as_csv(HD_EPIC), ["P02-20240101-101010.wav"])],
    "mecat": [("00A_test.json", json.dumps([{"id": "m1", **MECAT_FIELDS}]), ["m1.flac"])],
    "librisqa": [
        (
            "LibriSQA-PartI-test.json",
            json.dumps(
                [
                    {
                        "speech_path": "test-clean/10/20/10-20-0001.wav", "question": question, "answer": "At sea.",
                        "text": "THEY WERE AT SEA", "duration": 2.5,
                    }
                    for question in ("Where were they?", "Who was at sea?")
                ]
            ),
            ["10/20/10-20-0001.flac"],
        ),
        (
            "LibriSQA-PartII-test.json",
            json.dumps(
                [
                    {
                        "speech_path": "10-20-0001.wav",
                        "question_and_option": "Where were they? A. At home. B. At sea. C. In U.S. waters. D. Lost.",
                        "answer": "B", "answer_and_analysis": "B. They say so.",
                    }
                ]
            ),
            ["10-20-0001.flac"],
        ),
    ],
    "mmau": [
        (
            "mmau-test-mini.json",
            json.dumps(
                [
                    {
                        "id": "3f-1", "audio_id": "./test-mini-audios/3f-1.wav", "question": "Which animal?",
                        "choices": ["cat", "dog"], "answer": "dog", "dataset": "d", "task": "sound", "split": "test-mini",
                        "category": "c", "sub-category": "s", "difficulty": "easy",
                    }
                ]
            ),
            ["test-mini-audios/3f-1.wav"],
        )
    ],
    "nli": [("nli_for_simcse.csv", as_csv({"sent0": "A man runs.", "sent1": "He moves.", "hard_neg": "He sleeps."}), [])],
}  # fmt: skip


def write_sound(path: Path, seed: int = 0, num_samples: int = 8000) -> Path:
    """Half a second of noise; what ends in .mp3 and the like is not asked for its format by those who only look it up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-16000, 16000, num_samples, dtype=np.int16)
    soundfile.write(path, samples, 16000, format={".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3"}[path.suffix])
    return path


def write(folder: Path, dataset: str, number: int = 0) -> tuple[Path, Path]:
    """One annotation file of a dataset and its sounds; gives the file and the folder of sounds."""
    name, content, sounds = FILES[dataset][number]
    annotation, audio = folder / name, folder / "audio"
    audio.mkdir(exist_ok=True)
    annotation.write_text(content)
    for seed, sound in enumerate(sounds):
        write_sound(audio / sound, seed)
    return annotation, audio
