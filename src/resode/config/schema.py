"""The schema of params.yaml: what may be set, and what is refused before anything runs."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from resode.ode import integrators
from resode.ode.equations import ODES
from resode.ode.unit import LARGEST_H, MOST_STEPS

# Upper bounds are generous: they keep a typing error from eating the machine.
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
StepSize = Annotated[float, Field(gt=0, le=LARGEST_H, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# Of a run or a sweep; it becomes that of a folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
# {"section.key": value}
Settings = dict[str, Any]
# A network of one of the papers: its family, its number of layers, and whether blocks are left out at random.
ARCHITECTURE = re.compile(r"(resnet|preresnet|lm_resnet|hamiltonian)([1-9][0-9]{0,3})(_stochastic)?")
# Of all units: 4 GB in float32, three hundred times the post's.
_MOST_WEIGHTS = 1_000_000_000
# As many as He et al. (2015) trained.
_MOST_LAYERS = 1202


def _known_architecture(name: str) -> str:
    found = ARCHITECTURE.fullmatch(name)
    family, depth, stochastic = found.groups() if found else ("", 0, None)
    possible = {
        "resnet": depth in ("20", "32", "56") and not stochastic,
        "hamiltonian": depth in ("38", "74") and not stochastic,
    }
    if name != "units" and not possible.get(family, found and int(depth) % 6 == 2 and 2 < int(depth) <= _MOST_LAYERS):
        raise PydanticCustomError(
            "architecture",
            "input should be units, resnet20, resnet32, resnet56, hamiltonian38, hamiltonian74, or preresnetN or lm_resnetN with"
            f" N = 6 n + 2 layers, 8 to {_MOST_LAYERS}, and with _stochastic appended for stochastic depth",
        )
    return name


def _growing(channels: list[int]) -> list[int]:
    for before, after in zip(channels, channels[1:], strict=False):
        if after % before:
            raise ValueError(f"{after} is not a multiple of {before}; zero channels are appended in multiples")
    return channels


class Section(BaseModel):
    """A part of a file that people write."""

    # Strict: "4" is no number and true is no 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataParams(Section):
    """Which data set is used, and how much of its training set is held out."""

    name: Literal["cifar10", "digits"]
    require_published: bool
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]


class ModelParams(Section):
    """The network: units of `unroll_length` steps of size `h`, unit i on `channels[i]` channels; or the network of a paper."""

    architecture: Annotated[str, AfterValidator(_known_architecture)]
    block: Literal[tuple(ODES)]
    integrator: Literal[tuple(integrators.INTEGRATORS)]
    backward: Literal["store", "recompute", "reversible"]
    weights_in_time: Literal["shared", "free"]
    smoothness: NotNegative
    gamma: NotNegative
    channels: Annotated[
        list[Annotated[int, Field(ge=1, le=16_384)]], Field(min_length=1, max_length=100), AfterValidator(_growing)
    ]
    pool_after: Annotated[list[int], Field(max_length=100)]
    h: StepSize
    unroll_length: Steps
    kernel_size: Annotated[int, Field(ge=1, le=63)]
    activation: Literal["relu", "tanh", "sigmoid", "softplus", "elu", "gelu", "silu"] | None
    kernel_initializer: Literal["keras2_he_normal", "he_normal"]
    l2: NotNegative

    @model_validator(mode="after")
    def _channels_split(self) -> "ModelParams":
        odd = [count for count in self.channels if count % 2]
        if odd and ODES[self.block].form == integrators.PARTITIONED:
            raise ValueError(f"channels: {odd[0]} is odd; block {self.block} splits them into two halves (y, z)")
        return self

    @model_validator(mode="after")
    def _integrator_solves_the_block(self) -> "ModelParams":
        if self.architecture != "units":
            for name, only in (("backward", "store"), ("weights_in_time", "shared")):
                if (value := getattr(self, name)) != only:
                    raise ValueError(f"{name} {value} is for architecture units; {self.architecture} takes {only}")
            return self
        form = ODES[self.block].form
        if refused := integrators.refusal(self.integrator, form):
            raise ValueError(f"block {self.block}, {refused}")
        if ODES[self.block].own_steps and self.backward == "reversible":
            raise ValueError(f"block {self.block} has no step back; use backward recompute")
        if self.backward == "reversible" and (refused := integrators.irreversible(self.integrator, form)):
            raise ValueError(refused)
        if ODES[self.block].own_steps and self.integrator != "euler":
            raise ValueError(f"block {self.block} has steps of its own and takes integrator euler alone")
        if ODES[self.block].own_steps and self.unroll_length < 2:
            raise ValueError(f"block {self.block} needs an unroll_length of at least 2, a step with one before it")
        return self

    @model_validator(mode="after")
    def _weights_fit_a_machine(self) -> "ModelParams":
        ode = ODES[self.block]
        parts = 2 if ode.form == integrators.PARTITIONED else 1
        shapes = (ode.weight_shapes(self.kernel_size, channels // parts) for channels in self.channels)
        count = sum(math.prod(shape) for unit in shapes for shape in unit.values())
        count *= self.unroll_length if self.weights_in_time == "free" else 1
        if self.architecture == "units" and count > _MOST_WEIGHTS:
            raise ValueError(f"the units have {count:,} weights; at most {_MOST_WEIGHTS:,} are taken on")
        return self

    @model_validator(mode="after")
    def _pools_exist(self) -> "ModelParams":
        # Pooling after the last unit is the head's; the others name the unit they follow.
        allowed = range(1, len(self.channels))
        if self.pool_after != sorted(set(self.pool_after) & set(allowed)):
            raise ValueError(
                f"pool_after {self.pool_after} must be increasing unit numbers from 1 to {len(self.channels) - 1}"
            )
        if len(self.pool_after) > 5:
            raise ValueError(f"pool_after {self.pool_after}: a 32 x 32 image can be halved at most 5 times")
        return self


class AugmentationParams(Section):
    """Random flips, and shifts or crops, of the training images."""

    horizontal_flip: bool
    shift: Annotated[float, Field(ge=0, lt=1)]
    interpolation: Literal["bilinear", "nearest"]
    # A larger shift would leave nothing of an image of 32 pixels.
    crop: Annotated[int, Field(ge=0, le=31)]
    # Here and below, what has a default is younger than results and checkpoints that stay readable.
    crop_edges: Literal["zeros", "reflect"] = "zeros"

    @model_validator(mode="after")
    def _shifts_or_crops(self) -> "AugmentationParams":
        if self.shift and self.crop:
            raise ValueError(f"shift {self.shift:g} and crop {self.crop}: choose one and set the other to 0")
        if self.crop_edges == "reflect" and not self.crop:
            raise ValueError("crop_edges reflect needs a crop; shifts repeat the edge pixels")
        return self


class TrainingParams(Section):
    """The schedule as the post states it, at the reference batch size, the optimiser and the loss.

    Equal numbers of images are seen at any batch size; see `schedule`.
    """

    reference_batch_size: Count
    reference_iterations: Positive
    schedule: Literal["drops", "linear"] = "drops"
    reference_drops: Annotated[list[Positive], Field(max_length=100)]
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.15
    # Pairs of an unroll length and the iteration from which it holds.
    unroll_schedule: list[Annotated[tuple[Steps, NotNegative], Field(strict=False)]] = []
    batch_size: Count
    learning_rate: Positive
    drop_factor: Annotated[float, Field(gt=0, lt=1)]
    optimizer: Literal["sgd", "muon"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool = False
    muon_learning_rate: Positive = 0.05
    muon_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    muon_decay: NotNegative = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["float32", "mixed_bfloat16"]
    convolution: Literal["auto", "direct", "winograd"]
    block_length: Count | None
    devices: Annotated[int, Field(ge=1, le=1024)]

    @model_validator(mode="after")
    def _devices_share_a_batch(self) -> "TrainingParams":
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into equal parts for {self.devices} devices"
            )
        return self

    @model_validator(mode="after")
    def _one_schedule(self) -> "TrainingParams":
        if self.schedule == "linear" and self.reference_drops:
            raise ValueError(
                f"reference_drops {self.reference_drops} are of schedule drops; with schedule linear set them to []"
            )
        return self

    @model_validator(mode="after")
    def _whole_updates(self) -> "TrainingParams":
        if self.reference_drops != sorted(set(self.reference_drops)):
            raise ValueError(f"reference_drops {self.reference_drops} must increase")
        if self.reference_drops and self.reference_drops[-1] >= self.reference_iterations:
            raise ValueError(
                f"reference_drops {self.reference_drops} must lie before reference_iterations"
                f" {self.reference_iterations:g}"
            )
        for name, value in [
            ("reference_iterations", self.reference_iterations),
            *(("reference_drops", drop) for drop in self.reference_drops),
            *(("unroll_schedule", begin) for _, begin in self.unroll_schedule),
        ]:
            if not (value * self.reference_batch_size / self.batch_size).is_integer():
                raise ValueError(
                    f"{name}: {value:g} x {self.reference_batch_size} / {self.batch_size} is not a whole number"
                    " of updates"
                )
        return self

    @model_validator(mode="after")
    def _steps_double(self) -> "TrainingParams":
        lengths, begins = [[pair[i] for pair in self.unroll_schedule] for i in (0, 1)]
        if not begins:
            return self
        if begins[0] or begins != sorted(set(begins)) or begins[-1] >= self.reference_iterations:
            raise ValueError(
                f"unroll_schedule: its levels begin at {', '.join(f'{begin:g}' for begin in begins)}; they must begin at 0, increase,"
                f" and lie before reference_iterations {self.reference_iterations:g}"
            )
        for before, after in zip(lengths, lengths[1:], strict=False):
            if after != 2 * before:
                raise ValueError(
                    f"unroll_schedule: {after} is not twice {before}; each level has twice the steps of the one before"
                )
        return self


class EvaluationParams(Section):
    """Contents of the evaluation page."""

    mistakes: Annotated[int, Field(ge=1, le=100)]


class IntegratorsParams(Section):
    """Phase portraits of explicit Euler; orbits and energy of every integrator."""

    steps: Steps
    h: StepSize
    energy_steps: Count
    energy_h: StepSize


class StabilityParams(Section):
    """The accuracy of the units' spectral norms."""

    tolerance: Annotated[float, Field(gt=0, lt=1)]


class ToysParams(Section):
    """Two-dimensional problems, and one unit that classifies their points."""

    points: Annotated[int, Field(ge=2, le=100_000)]
    channels: Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
    # The two-step methods need a second step.
    unroll_length: Annotated[int, Field(ge=2, le=MOST_STEPS)]
    h: StepSize
    updates: Count
    learning_rate: Positive


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    data: DataParams
    model: ModelParams
    integrators: IntegratorsParams
    augmentation: AugmentationParams
    training: TrainingParams
    evaluation: EvaluationParams
    stability: StabilityParams
    toys: ToysParams

    @model_validator(mode="after")
    def _schedule_ends_with_the_network(self) -> "Params":
        if not self.training.unroll_schedule:
            return self
        model, (first, _), (last, _) = self.model, self.training.unroll_schedule[0], self.training.unroll_schedule[-1]
        if model.architecture != "units":
            raise ValueError(
                f"training.unroll_schedule needs units; {model.architecture} has no steps to be halved. Set it to []"
            )
        if last != model.unroll_length:
            raise ValueError(
                f"training.unroll_schedule ends with unroll length {last}; it must end with model.unroll_length {model.unroll_length}"
            )
        if ODES[model.block].own_steps and first < 2:
            raise ValueError(
                f"training.unroll_schedule: block {model.block} needs an unroll length of at least 2, a step with one before it"
            )
        return self

    @model_validator(mode="after")
    def _muon_has_kernels(self) -> "Params":
        if self.training.optimizer == "muon" and self.model.architecture != "units":
            raise ValueError(
                f"training.optimizer muon trains the kernels of units; {self.model.architecture} takes sgd"
            )
        return self

    @model_validator(mode="after")
    def _products_are_possible(self) -> "Params":
        if self.training.convolution != "winograd":
            return self
        model = self.model
        impossible = {
            "model.architecture": not model.architecture.startswith(("units", "hamiltonian")) and model.architecture,
            "model.kernel_size": model.architecture == "units" and model.kernel_size != 3 and model.kernel_size,
            "training.precision": self.training.precision != "float32" and self.training.precision,
        }
        for key, value in impossible.items():
            if value:
                raise ValueError(
                    f"training.convolution winograd needs units with kernel_size 3 in float32; {key} is {value}."
                    " Use auto or direct"
                )
        return self
