"""The packaged clips: each is a sound, is told with its maker and licence, and is small."""

import json
from importlib.resources import as_file, files

from harken.engine.audio import load_audio

LICENCES = {"CC-BY-3.0", "CC-BY-SA-3.0", "MIT"}


def test_clips_are_sounds_with_a_maker_and_a_licence():
    with as_file(files("harken.engine") / "assets" / "clips") as folder:
        clips = json.loads((folder / "clips.json").read_text())["clips"]
        told = (folder / "ATTRIBUTION.md").read_text()
        assert {clip["file"] for clip in clips} == {path.name for path in folder.glob("*.ogg")} and len(clips) >= 24
        for clip in clips:
            sound = load_audio(folder / clip["file"])
            assert sound.samples.any() and abs(sound.duration_s - clip["duration_s"]) < 0.05, clip["file"]
            assert clip["licence"] in LICENCES and clip["attribution"] and clip["source_version"] and clip["id"]
            assert f"| {clip['file']} | {clip['caption']} | {clip['attribution']} |" in told
        assert len({clip["caption"] for clip in clips}) == len({clip["id"] for clip in clips}) == len(clips)
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_500_000
        for licence in ("CC-BY-3.0", "CC-BY-SA-3.0", "MIT-fluid-soundfont-gm"):
            assert (folder / "licences" / f"{licence}.txt").stat().st_size > 1_000
