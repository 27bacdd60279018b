"""Exported bundles on an emulated CUDA device give the vectors of the CPU's code."""

import pytest

from harken.engine.export.targets import export

from ..engine.export import make
from ..tolerances import COSINE_CUDA
from .conftest import run
from .test_bundle import with_known_split

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return with_known_split(make.mini(tmp_path_factory.mktemp("mini")))


@pytest.fixture(scope="module")
def omni(tmp_path_factory):
    return with_known_split(make.omni(tmp_path_factory.mktemp("omni")))


@pytest.mark.parametrize("dtype", COSINE_CUDA)
@pytest.mark.parametrize("name", ["mini", "omni"])
def test_a_device_gives_the_cpus_vectors(built, tmp_path, request, name, dtype):
    made = request.getfixturevalue(name)
    bundle = export(out=tmp_path / "bundle", to="bundle", dtype=dtype, **made.args)
    print(run(built / "tests" / "test_cuda_model_on_cpu", bundle, str(COSINE_CUDA[dtype]), HARKEN_CUBINS="off"))
