"""`harken cost`: what a corpus costs, from a rate on one GPU."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import JsonOption, app
from .output import emit, errors_as_lines, fail, say

if TYPE_CHECKING:
    from ..bulk.cost import Cost

SIZES = (1_000_000, 100_000_000, 1_000_000_000)


@app.command()
def cost(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a finished `harken bulk` run to take rates from")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Sounds a second of one GPU, instead of the run's")
    ] = None,
    clips: Annotated[
        list[float] | None, typer.Option("--clips", min=1, help="Sounds, such as 1e8; may be given often [1e6 1e8 1e9]")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPUs side by side")] = 1,
    store_bytes: Annotated[float | None, typer.Option("--store-bytes", help="Stored bytes a sound")] = None,
    read_bytes: Annotated[float | None, typer.Option("--read-bytes", help="Bytes of a sound file")] = None,
    cpu_s: Annotated[float | None, typer.Option("--cpu-s", help="CPU seconds to read and decode a sound")] = None,
    network_gbit: Annotated[float | None, typer.Option("--network-gbit", help="What the network gives, Gbit/s")] = None,
    cores: Annotated[int | None, typer.Option("--cores", help="Cores that decode")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a corpus of sounds costs. Figures come from a run's log or from you; nothing is measured here.

    hours = sounds / (3600 x rate x GPUs), GPU-hours = hours x GPUs; store and read grow with the sounds; the network must give
    rate x GPUs x bytes a sound, and rate x GPUs x CPU seconds is how many cores decode. Whichever of GPUs, network and cores
    gives least is the limit.
    """
    with errors_as_lines():
        from ..bulk.cost import Rates, rates_of
        from ..bulk.cost import cost as cost_of

        values: dict[str, float | None] = {}
        if run is not None:
            measured, told = rates_of(run)
            values = {name: getattr(measured, name) for name in Rates.__slots__}
            where = f"{told['num_models']} x {told['device']}"
            say(
                f"measured in {run}: {told['num_now']} sounds in {told['wall_s']:.1f} s on {where}, "
                f"mean length {told['audio_now_s'] / told['num_now']:.2f} s; the limit was {told['limit']}"
            )
            if "cuda" not in told["device"]:
                say("that is no GPU: what is said of GPUs below holds for as many of these")
        given = {"clips_per_s": rate, "store_bytes": store_bytes, "read_bytes": read_bytes, "cpu_s": cpu_s}
        values |= {name: value for name, value in given.items() if value is not None}
        if values.get("clips_per_s") is None:
            raise fail("cost wants a run's folder or --rate")
        if named := [name for name, value in given.items() if value is not None]:
            say(f"given, not measured: {', '.join(named)}")
        rates = Rates(**values)  # type: ignore[arg-type]
        costs = [
            cost_of(
                rates,
                round(number),
                num_gpus=gpus,
                max_network_bytes_per_s=None if network_gbit is None else network_gbit * 1e9 / 8,
                max_cores=cores,
            )
            for number in (clips or SIZES)
        ]
    if as_json:
        emit([{name: getattr(one, name) for name in one.__slots__} for one in costs], as_json)
        return
    emit([_for_people(one) for one in costs], as_json, title=f"{gpus} GPU{'s' if gpus > 1 else ''}")
    if costs[0].network_bytes_per_s is not None:
        say(f"at full rate the sounds come at {costs[0].network_bytes_per_s * 8e-9:,.3g} Gbit/s")
    if costs[0].num_cores is not None:
        say(f"at full rate {costs[0].num_cores:,.3g} cores read and decode")


def _for_people(one: "Cost") -> dict[str, str]:
    gigabytes = lambda size: "not known" if size is None else f"{size * 1e-9:,.1f} GB"
    return {
        "sounds": f"{one.num_clips:,}",
        "hours": f"{one.hours:,.1f}",
        "GPU-hours": f"{one.gpu_hours:,.1f}",
        "limit": one.limit,
        "store": gigabytes(one.store_bytes),
        "read": gigabytes(one.read_bytes),
    }
