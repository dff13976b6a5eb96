"""Performance of the trained network on the test set: accuracy, its interval, its mistakes."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from IPython.display import Markdown
from pydantic import BaseModel, Field, PositiveInt, ValidationError
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from resode.base import files
from resode.base.errors import InputError
from resode.base.text import percent, quoted

# The device that evaluates rounds differently from the one that trained, which tips an image whose two best
# classes are nearly tied. A couple of images in a thousand, never fewer than one, are put down to that.
ROUNDING = 0.002
LAST_EPOCHS = 10
CLASS_ACCURACY = "class_accuracy.json"


def tested_on(history: Sequence[Mapping[str, float]]) -> str:
    """Name the images that the network was tested on after each epoch: "validation" images, where some were held out, else "test" images."""
    return "validation" if "validation_accuracy" in history[0] else "test"


_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Epoch(BaseModel):
    """A row of `history.csv`."""

    epoch: PositiveInt
    updates: PositiveInt
    learning_rate: _Number
    train_loss: _Number
    train_accuracy: _Share
    # A network may have any loss on images that it was not trained on.
    test_loss: float
    test_accuracy: _Share


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of `history.csv`, one per epoch; epoch and updates as int, the rest as float.

    Where validation images were held out, the columns are `validation_…` instead of `test_…`.

    Raises:
        InputError: the file is missing, no table, has no rows, lacks a column or an epoch, or holds something that is no such
            number.
    """
    if not Path(path).exists():
        raise InputError(f"{path} is missing; run the training stage first")
    try:
        rows = list(csv.DictReader(io.StringIO(files.read_text(path), newline="")))
    except (InputError, csv.Error) as error:
        raise InputError(f"{path} is no table ({error}); run the training stage again") from error
    if not rows:
        raise InputError(f"{path} has no epochs; run the training stage again")
    split, before = tested_on(rows), 0
    history = []
    for number, row in enumerate(rows, start=1):
        try:
            checked = _Epoch.model_validate({str(key).replace(split, "test"): value for key, value in row.items()})
        except ValidationError as error:
            wrong = error.errors()[0]
            raise InputError(
                f"{path}, row {number}, {wrong['loc'][0]}: {quoted(wrong['msg'])}; run the training stage again"
            ) from error
        if checked.epoch != number or checked.updates <= before:
            raise InputError(f"{path}: row {number} is not of epoch {number}; run the training stage again")
        before = checked.updates
        history.append({key.replace("test", split): value for key, value in checked.model_dump().items()})
    return history


def drops(history: Sequence[Mapping[str, float]]) -> list[int]:
    """The epochs whose learning rate is lower than the one before; none where it falls most of the time, as a linear schedule does."""
    found = [b["epoch"] for a, b in pairwise(history) if b["learning_rate"] < 0.999 * a["learning_rate"]]
    return found if len(found) < 2 or 2 * len(found) < len(history) else []


def predict(model, images_normalised: np.ndarray, batch_size: int = 250) -> np.ndarray:
    """Class probabilities of `images_normalised`, in inference mode.

    Args:
        model: a Keras model ending in a softmax.
        images_normalised: float (N, H, W, C), (image − mean image) / 128.

    Returns:
        float64 (N, classes), rows summing to one.

    Raises:
        InputError: a probability is not finite, as with the weights of a run that diverged.
    """
    probabilities = np.asarray(model.predict(images_normalised, batch_size=batch_size, verbose=0), dtype=np.float64)
    if not np.isfinite(probabilities).all():
        raise InputError("the network's predictions are not finite; train it again, with a smaller h or learning rate")
    return probabilities


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson score interval of a proportion with 95 % confidence, as (low, high).

    It covers the accuracy the network would have on infinitely many images like the test images, and says
    nothing of how much another seed would change (Wilson 1927, J. Am. Stat. Assoc. 22, 209–212).
    """
    interval = binomtest(int(correct), int(total)).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def counted(correct: int, total: int) -> dict[str, float]:
    """correct, total, accuracy, and low and high, the ends of its `wilson_interval`."""
    low, high = wilson_interval(correct, total)
    return {"correct": correct, "total": total, "accuracy": correct / total, "low": low, "high": high}


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """Indices of the `n` wrongly classified images the network was surest of, surest first.

    Fewer than `n` come back when there are fewer mistakes; ties keep the order of the test set.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != np.asarray(labels))
    confidence = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")[:n]]


def metrics(
    history: Sequence[Mapping[str, float]], probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict:
    """Every number of the evaluation, as fractions between 0 and 1.

    The final accuracy is that of the weights after the last epoch: the one the original reported. The best
    epoch is chosen on the test set, so it flatters; it is here because the original's is known, too. Where validation
    images were held out, best epoch and last ten are of their accuracy: the test images are looked at here alone. The mean of
    the last ten is left out of fewer than twenty epochs: ten of sixteen are no end of a training.

    Args:
        history: rows of `history.csv`.
        probabilities: (N, classes), of the last epoch's weights.
        labels: (N,) actual classes.

    Raises:
        InputError: the test accuracy of these weights is not the one in the history's last row, where that has one.
    """
    predicted = probabilities.argmax(axis=1)
    labels = np.asarray(labels)
    correct, total = int((predicted == labels).sum()), len(labels)
    split = tested_on(history)
    if split == "test":
        _same_run(correct / total, history[-1], total)
    low, high = wilson_interval(correct, total)
    accuracies = [row[f"{split}_accuracy"] for row in history]
    best = int(np.argmax(accuracies))
    matrix = confusion_matrix(labels, predicted, labels=range(len(class_names)))
    last_ten = {f"last_ten_{split}_accuracy": float(np.mean(accuracies[-LAST_EPOCHS:]))}
    return {
        "test_accuracy": correct / total,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_correct": correct,
        "test_total": total,
        **({"validation_accuracy": accuracies[-1]} if split == "validation" else {}),
        f"best_{split}_accuracy": accuracies[best],
        "best_epoch": history[best]["epoch"],
        **(last_ten if len(history) >= 2 * LAST_EPOCHS else {}),
        "train_accuracy": history[-1]["train_accuracy"],
        "epochs": history[-1]["epoch"],
        "class_accuracy": _per_class(matrix, class_names),
    }


def summary(numbers: Mapping, title: str) -> Markdown:
    """The main numbers for a notebook; `title` names the data set."""
    low, high = numbers["test_accuracy_low"], numbers["test_accuracy_high"]
    split = "validation" if "validation_accuracy" in numbers else "test"
    best = f"{percent(numbers[f'best_{split}_accuracy'])} (epoch {numbers['best_epoch']} of {numbers['epochs']})"
    where = "" if split == "test" else f", {split} accuracy"
    last_ten = ""
    if (mean := numbers.get(f"last_ten_{split}_accuracy")) is not None:
        last_ten = f"- mean of the last ten epochs{where}: {percent(mean)}\n"
    return Markdown(
        f"**{percent(numbers['test_accuracy'])}** of the test images of {title} are classified correctly: "
        f"{numbers['test_correct']:,} of {numbers['test_total']:,}, "
        f"95 % interval {percent(low)} to {percent(high)}.\n\n"
        f"- best epoch{where}: {best}\n"
        f"{last_ten}- accuracy on the augmented training images, last epoch: {percent(numbers['train_accuracy'])}"
    )


def _per_class(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, float | None]:
    return {
        name: float(row[index] / row.sum()) if row.sum() else None
        for index, (name, row) in enumerate(zip(class_names, matrix, strict=True))
    }


def _same_run(accuracy: float, last: Mapping[str, float], total: int) -> None:
    if abs(accuracy - last["test_accuracy"]) > max(1.5 / total, ROUNDING):
        raise InputError(
            f"the weights reach a test accuracy of {accuracy:.4f} but history.csv ends with "
            f"{last['test_accuracy']:.4f}: they do not belong together; run the training stage again"
        )


def write(
    folder: Path, numbers: Mapping, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """Write `metrics.json`, `class_accuracy.json` and `confusion.csv`, a row a test image, which the template `confusion` of `dvc plots` counts.

    The first two say of which training they are, as `numbers["training"]` does.
    """
    # In a file of their own, so that DVC's tables of metrics are no wider than a screen.
    by_class = {name: numbers[name] for name in ("training", "class_accuracy")}
    files.write_json(Path(folder) / CLASS_ACCURACY, by_class)
    files.write_json(
        Path(folder) / "metrics.json", {name: value for name, value in numbers.items() if name != "class_accuracy"}
    )
    names = np.asarray(class_names)
    table = pd.DataFrame({"actual": names[labels], "predicted": names[probabilities.argmax(axis=1)]})
    files.write_text(Path(folder) / "confusion.csv", table.to_csv(index=False, lineterminator="\n"))
