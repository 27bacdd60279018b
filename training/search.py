"""Search over what Robust-ATR leaves to one: sizes of the projections, rates, batch, loss weights.

    layers 1-4, heads 2-16, width of the MLP, dropout, shared width, gelu or relu; learning rate, batch 4-128;
    weights of cosine, L1 and contrast on the simplex, tau

Trials whose score at a validation lies below the median of earlier ones are cut short. The study lives in an SQLite file: the
same call goes on, and trials that were interrupted are run again.

Source: Robust-ATR, arXiv 2604.23323 (what was searched; ranges are not published and are own); Optuna.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from .config import TrainSettings, load_settings, settings_from
from .loop import Loop
from .stages import make_task

BATCH_SIZES = (4, 8, 16, 32, 64, 128)
# Runs a trial's settings: told of each validation (step, score), gives the best score.
Objective = Callable[[TrainSettings, Callable[[int, float], None]], float]


def search(path: str | Path, storage: str | Path, num_trials: int, objective: Objective | None = None) -> Any:
    """Run trials until there are `num_trials`; the best one.

    Args:
        path: settings that every trial starts from; each trial's folder is OUT/trial-NUMBER.
        storage: SQLite file.
        objective: of a trial; None: train it.

    Raises:
        InputError: the settings are of another stage, Optuna is missing, or no trial came to its end.
    """
    try:
        import optuna
    except ImportError:
        raise InputError('train-search wants Optuna: pip install "harken[train]"') from None
    base = load_settings(path)
    if base.stage != "robust-atr":
        raise InputError(f"{path}: stage is {base.stage!r}; the search is over the stage 'robust-atr'")
    run_trial = objective or _train
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=Path(base.out).name,
        storage=f"sqlite:///{Path(storage).resolve()}",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=base.run.validate_every),
    )
    # A resumed search must not draw its first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=base.seed + len(study.trials))
    _requeue(study, optuna)

    def one(trial: Any) -> float:
        def told(step: int, score: float) -> None:
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        return run_trial(suggested(base, trial), told)

    finished = [t for t in study.trials if t.state.is_finished() and t.state != optuna.trial.TrialState.FAIL]
    if len(finished) < num_trials:
        study.optimize(one, n_trials=num_trials - len(finished))
    if not any(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials):
        raise InputError(f"{storage}: no trial came to its end")
    return study.best_trial


def suggested(base: TrainSettings, trial: Any) -> TrainSettings:
    """A trial's settings."""
    values = base.to_dict()
    heads = trial.suggest_categorical("num_heads", [2, 4, 8, 16])
    cosine, l1 = trial.suggest_float("w_cosine", 0.0, 0.5), trial.suggest_float("w_l1", 0.0, 0.4)
    values["robust"] |= dict(
        num_layers=trial.suggest_int("num_layers", 1, 4),
        num_heads=heads,
        mlp_width=trial.suggest_categorical("mlp_width", [512, 1024, 2048, 4096]),
        dim=trial.suggest_categorical("dim", [256, 512, 768, 1024]),
        dropout=trial.suggest_float("dropout", 0.0, 0.4),
        activation=trial.suggest_categorical("activation", ["gelu", "relu"]),
    )
    values["loss"] |= dict(weights=[cosine, l1, 1 - cosine - l1], tau=trial.suggest_float("tau", 0.02, 0.2, log=True))
    values["optim"] |= dict(lr=trial.suggest_float("lr", 1e-5, 3e-3, log=True))
    values["batch"] |= dict(batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES))
    values["out"] = str(Path(base.out) / f"trial-{trial.number}")
    return settings_from(json.loads(json.dumps(values)), "trial")


def _train(settings: TrainSettings, told: Callable[[int, float], None]) -> float:
    loop = Loop(make_task(settings), settings, on_validation=lambda step, found: told(step, found["score"]))
    loop.go()
    return loop.best


def _requeue(study: Any, optuna: Any) -> None:
    """Trials that were interrupted are run again with their parameters."""
    state = optuna.trial.TrialState
    for trial in study.get_trials(states=(state.RUNNING,)):
        study.tell(trial.number, state=state.FAIL)
    trials = study.get_trials()
    again = [t.params or t.system_attrs.get("fixed_params") for t in trials if t.state != state.FAIL]
    for trial in trials:
        if trial.state == state.FAIL and trial.params not in again:
            study.enqueue_trial(trial.params)
            again.append(trial.params)
