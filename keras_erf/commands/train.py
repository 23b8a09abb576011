"""The command that trains the paper's networks: `keras-erf train`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.console import print_json, print_training
from keras_erf.commands.option_types import OUT, JsonOption, in_panel, out_option
from keras_erf.commands.outputs import save_training
from keras_erf.commands.parsing import check_writable
from keras_erf.quiet import import_quietly

__all__ = ["train"]


class TaskName(str, Enum):
    """What a network is trained for."""

    cifar10 = "cifar10"
    camvid = "camvid"


def _option(name: str, metavar: str, help: str, default: str | bool = True) -> Any:
    return in_panel("Training")(name, metavar=metavar, help=help, show_default=default)


DECAY = "Decoupled weight decay, multiplied by the learning rate."
SOFTNESS = "Weight of the kernels' centre at the start, 0 to 1."
TOLERANCE = "Relative tolerance of the effective size, at each epoch."


def train(
    task: Annotated[
        TaskName, typer.Argument(metavar="TASK", help="Network and images.", show_default=False)
    ],
    data: Annotated[
        Path | None, _option("--data", "DIR", "Folder of the images.", "CIFAR-10 is downloaded")
    ] = None,
    epochs: Annotated[
        int | None, _option("--epochs", "N", "Number of epochs.", "10; camvid 60")
    ] = None,
    width: Annotated[
        int | None, _option("--width", "N", "Filters of the first stage.", "16; camvid 8")
    ] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", "N", "Images of a step.", "128; camvid 4")
    ] = None,
    learning_rate: Annotated[
        float | None,
        _option("--learning-rate", "X", "Peak of the learning rate.", "0.1; camvid 0.05"),
    ] = None,
    weight_decay: Annotated[
        float | None, _option("--weight-decay", "X", DECAY, "0.0005; camvid 0.001")
    ] = None,
    subset: Annotated[
        int | None, _option("--subset", "N", "Number of training images to use.", "all")
    ] = None,
    seed: Annotated[int, _option("--seed", "N", "Seed of weights, order and augmentation.")] = 0,
    softness: Annotated[float | None, _option("--softness", "A", SOFTNESS, "He's")] = None,
    tolerance: Annotated[float, _option("--tolerance", "T", TOLERANCE)] = 0.05,
    out: Annotated[Path | None, out_option("Folder for all outputs.", f"{OUT}/TASK")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network of the paper, and measure its effective field during training.

    Writes a checkpoint and the history of each epoch, sizes and maps of the field,
    the result, a picture and a verdict in words. Called again after an interruption,
    it resumes after the last complete epoch.

    [bold]Examples[/bold]

    keras-erf train cifar10 --out run

    keras-erf train camvid --data CamVid --out run
    """
    with one_line_errors("Complete epochs are kept; the same call resumes from there."):
        folder = out or OUT / task.value
        check_writable(folder)
        values = {
            "epochs": epochs,
            "width": width,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "subset": subset,
            "softness": softness,
        }
        options = {name: value for name, value in values.items() if value is not None}
        import_quietly()
        from keras_erf import training
        from keras_erf.result_folders import read_json
        from keras_erf.training.summary import OUTCOME

        def report(epoch: int, metrics: Mapping[str, float]) -> None:
            if not as_json:
                print_training(epoch, metrics)

        training.train(
            task.value,
            data=data,
            path=folder,
            report=report,
            seed=seed,
            tolerance=tolerance,
            **options,
        )
        result = read_json(folder / OUTCOME, "a training", {})
        summary = training.summarise({task.value: folder})
        save_training(summary, folder)
        if as_json:
            verdict = summary.verdict
            print_json({"task": task.value, "folder": str(folder), "verdict": verdict, **result})
        else:
            for name, value in result.items():
                text = f"{value:.4g}" if isinstance(value, float) else value
                typer.echo(f"{name.replace('_', ' ')}: {text}")
            typer.echo(summary.verdict)
            typer.echo(f"All files are in {folder}")
