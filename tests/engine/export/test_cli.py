"""`harken export` and `harken export-check` as a person uses them, with wrong input too."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from harken.engine.cli import application

ERROR, SOME_FAILED = 2, 1


@pytest.fixture
def harken():
    def run(*args):
        return CliRunner().invoke(application(), [str(arg) for arg in args])

    return run


def test_export_prints_the_folder_and_check_finds_it_whole(harken, mini, tmp_path):
    out = tmp_path / "out"
    made = harken(
        "export",
        mini.folder,
        out,
        "--to",
        "hf",
        "--adapter",
        mini.adapter,
        "--recipe",
        mini.recipe,
        "--dtype",
        "float16",
    )
    assert made.exit_code == 0 and made.stdout == f"{out}\n"
    told = harken("export-check", out, "--json")
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert told.exit_code == 0 and len(rows) == 6 and all(row["ok"] for row in rows)
    (out / "config.json").write_text("{}")
    told = harken("export-check", out)
    assert told.exit_code == ERROR and "config.json" in told.stderr


def test_check_notices_a_golden_vector_that_is_another(harken, mini, tmp_path):
    from safetensors.torch import load_file, save_file

    from harken.engine.durable import sha256_of

    out = tmp_path / "out"
    harken("export", mini.folder, out, "--to", "hf", "--adapter", mini.adapter, "--recipe", mini.recipe)
    golden = load_file(out / "golden.safetensors")
    golden["text.1.vector"] = golden["text.0.vector"].clone()
    save_file(golden, out / "golden.safetensors")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["golden.safetensors"]["sha256"] = sha256_of(out / "golden.safetensors")
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert harken("export-check", out).exit_code == SOME_FAILED


def test_options_of_tensorrt_llm_arrive(harken, omni, tmp_path):
    out = tmp_path / "out"
    made = harken(
        "export", omni.folder, out, "--to", "trtllm-engine", "--adapter", omni.adapter, "--recipe", omni.recipe,
        "--tp", 2, "--quant", "w8a16", "--dtype", "bfloat16",
    )  # fmt: skip
    assert made.exit_code == 0
    facts = json.loads((out / "manifest.json").read_text())
    assert (facts["tp"], facts["quant"], facts["dtype"], facts["target"]) == (2, "w8a16", "bfloat16", "trtllm-engine")
    told = harken("export-check", out)
    assert told.exit_code == 0 and "run_engine.py --selftest" in told.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--to", "gguf"), "no target 'gguf'"),
        (("--to", "hf", "--tp", "2"), "'hf' has no option tp"),
        (("--to", "hf", "--recipe", "nix"), "no recipe 'nix'"),
        (("--to", "trtllm-engine", "--tp", "3"), "tp 3 does not divide"),
        (("--to", "hf", "--adapter", "nowhere"), "nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(harken, mini, tmp_path, args, said):
    made = harken("export", mini.folder, tmp_path / "out", "--recipe", mini.recipe, *args)
    assert made.exit_code == ERROR and said in made.stderr and len(made.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_costs_nothing_until_it_is_used():
    code = "import sys, harken.engine.cli; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
