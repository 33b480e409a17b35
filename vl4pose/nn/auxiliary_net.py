"""The auxiliary network: from a pose network's features to the bones that it expects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vl4pose._arrays import is_tensor
from vl4pose._options import choice, integer

__all__ = ["AuxiliaryNet"]

EXTRACTORS = ("convolution", "pool")
HEADS = ("distance", "offset")
VARIANTS = ("default", "paper")

_PAPER_LAYERS = (128, 64, 32, 16)
_HIDDEN_SIZE = 256
_VECTOR_SIZE = 128
_DROPOUT, _MAP_DROPOUT = 0.5, 0.1
_WIDEST = 256
_LAST_SIZE = 4
_NUM_SCALES = 5
_MAX_SIZE = 2**16
_MAX_SCALES = 64
_MAX_STRIDE = 64

_USUAL_PARAMS = (8.0, 3.0)
_USUAL_OFFSET_SCALE = 8.0
_SHORTEST = 1e-3
# Just inside the clamps of the scores, so that no rounding reaches them.
_LONGEST = 999_000.0
_LARGEST_LOG_VARIANCE = 19.99
_LARGEST_LOG_SCALE = 10.0


class AuxiliaryNet(nn.Module):
    """Predict, from a pose network's features, the bones that the image lets one expect.

    Parameters
    ----------
    channels : int or sequence of int, default 256
        Width of the feature maps, from high to low resolution: one for all, or one each.
    num_links : int, default 15
        Links of the skeleton, L.
    num_scales : int, optional
        How many feature maps come in: 5 by default, or as many as there are ``channels``.
    strides : int or sequence of int, default 2
        By which factor each feature map is larger than the next. Strides beyond those between the
        feature maps shrink the last one further.
    width : int, optional
        Channels inside; feature maps of another width are brought to it by a 1x1 convolution.
        By default the widest of ``channels``, at most 256.
    extractor : {"convolution", "pool"}
        What turns the last map into a vector: a 4x4 convolution over the map, averaged to 4x4 if it
        is larger, or its average.
    head : {"distance", "offset"}
        Length and log-variance of each link (Eq. 5 of the paper), or its offset vector and the
        Cholesky factor of the offset's covariance (Eq. 4).
    dimensions : {2, 3}
        Of the offsets, D.
    variant : {"default", "paper"}
        "paper" has the layers of the paper; the default trains better, see the notes.
    params : (L, 2) array_like, optional
        For the distance head: length in heatmap pixels and log-variance of each link, which the
        network predicts for every image until it is trained (see `vl4pose.fit_params`). By
        default 8 pixels and 3. Lengths below 0.001 pixels become that.
    offset_params : ((L, D), (L, D, D)) pair of array_like, optional
        Likewise for the offset head: offset and Cholesky factor of each link (see
        `fit_offset_params`). By default 0 and 8 times the identity.

    Raises
    ------
    TypeError, ValueError
        ``<argument> must <rule>, got <value>``.

    Notes
    -----
    Section 3.2 of the paper: a strided convolution brings each feature map to the size of the next,
    to which it is added; a vector is taken from the last one and goes through fully connected
    layers to the head. Sizes that a stride does not divide are rounded up. "paper" has four such
    layers (128, 64, 32 and 16 units) and ReLU throughout. The default standardises the features
    (batch normalisation), normalises what each strided convolution returns (over all of its
    channels, so that the size of the batch does not matter), and has one hidden layer of 256 units,
    GELU and dropout: of each change by itself, the first and the one layer for four made the most
    difference. At 256 channels and 15 links there are 2,176,542 parameters, 2,142,702 in "paper".

    Features are detached: no gradient flows into the pose network.

    The head predicts deviations from ``params``: d = d0 exp(u), s = s0 + v. Its weights start at
    zero, so that training starts at the given statistics and weight decay pulls towards them. u and
    v are bounded smoothly, by x / (1 + |x| / limit), such that 0 < d < 1e6 and -20 < s < 20, where
    nothing that reads them clamps. The offset head predicts in the frame in which the given offset
    is zero and the given covariance the identity; the scale along no axis of it changes by more
    than a factor of exp(10).

    `torch.jit.script` and `torch.export.export` take the network as it is.

    References
    ----------
    Shukla, Roy, Singh, Ahmed, Alahi: "VL4Pose: Active Learning Through Out-Of-Distribution
    Detection For Pose Estimation", BMVC 2022.

    Examples
    --------
    >>> features = [torch.rand(2, 256, size, size) for size in (64, 32, 16, 8, 4)]
    >>> AuxiliaryNet(num_links=13)(features).shape
    torch.Size([2, 13, 2])
    """

    def __init__(
        self,
        channels: int | Sequence[int] = 256,
        num_links: int = 15,
        *,
        num_scales: int | None = None,
        strides: int | Sequence[int] = 2,
        width: int | None = None,
        extractor: str = "convolution",
        head: str = "distance",
        dimensions: int = 2,
        variant: str = "default",
        params: npt.ArrayLike | Tensor | None = None,
        offset_params: tuple[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        of_scales = _per_scale(channels, num_scales)
        of_steps = _per_step(strides, len(of_scales))
        num_links = integer(num_links, "num_links", 1, _MAX_SIZE)
        if width is None:
            width = min(max(of_scales), _WIDEST)
        width = integer(width, "width", 1, _MAX_SIZE)
        plain = choice(variant, "variant", VARIANTS) == "paper"
        self.arguments = {
            "channels": of_scales,
            "num_links": num_links,
            "strides": of_steps,
            "width": width,
            "extractor": choice(extractor, "extractor", EXTRACTORS),
            "head": choice(head, "head", HEADS),
            "dimensions": integer(dimensions, "dimensions", 2, 3),
            "variant": variant,
        }
        self.entry = _entry(of_scales[0], width, plain=plain)
        between, beyond = of_steps[: len(of_scales) - 1], of_steps[len(of_scales) - 1 :]
        self.steps = nn.ModuleList(
            Step(size, width, stride, plain=plain)
            for size, stride in zip(of_scales[1:], between, strict=True)
        )
        self.shrink = nn.Sequential(*(Shrink(width, stride, plain=plain) for stride in beyond))
        # At least so long, as narrow maps would make a vector that is too short to tell bones by.
        size = width if plain or extractor == "pool" else max(width, _VECTOR_SIZE)
        self.extractor = _extractor(width, size, extractor, plain=plain)
        self.layers, size = _layers(size, plain=plain)
        if head == "distance":
            if offset_params is not None:
                raise ValueError("offset_params must be None with head='distance': see params")
            self.head: nn.Module = DistanceHead(size, _checked_params(params, num_links))
        else:
            if params is not None:
                raise ValueError("params must be None with head='offset': see offset_params")
            self.head = OffsetHead(
                size, *_checked_offset_params(offset_params, num_links, dimensions)
            )

    @classmethod
    def for_features(
        cls, features: Sequence[Tensor], num_links: int, **options: Any
    ) -> AuxiliaryNet:
        """Build a network for the features that a pose network returned for some batch.

        Parameters
        ----------
        features : sequence of Tensor (B, C, H, W)
            From high to low resolution; channels and strides are read off their shapes.
        num_links : int
            Links of the skeleton, L.
        **options
            The other arguments of the class.

        Raises
        ------
        TypeError, ValueError
            ``features must ...``, and as the class.

        Notes
        -----
        Where the smallest map has more than 4 rows and columns, strides of 2 are added until it has
        not, so that the vector is taken from a map as small as an hourglass's.
        """
        shapes = [_checked_map(feature) for feature in features]
        if not shapes:
            raise ValueError("features must be at least one map, got none")
        sizes = [shape[2:] for shape in shapes]
        strides = [
            _stride_between(larger, smaller) for larger, smaller in itertools.pairwise(sizes)
        ]
        smallest = min(sizes[-1])
        while smallest > _LAST_SIZE:
            strides.append(2)
            smallest = math.ceil(smallest / 2)
        return cls([shape[1] for shape in shapes], num_links, **{"strides": strides} | options)

    def set_peak_variance(self, variance: float) -> None:
        """Add a variance to that of every bone, for what lies between a joint and its peak.

        Parameters
        ----------
        variance : float
            In heatmap pixels squared, from 0 (as a new network has it) to 1e5; see
            `fit_peak_variance`.

        Raises
        ------
        TypeError, ValueError
            ``variance must be a real number``, ``variance must be between 0 and 1e5``; ``head must
            be 'distance'``.

        Notes
        -----
        Bones are learned from annotated joints, but scores apply them to peaks, which lie beside
        the joints, or somewhere else altogether. Without an allowance for that a wrong peak costs
        so much that the joints linked to it are moved as well. Set it after the training, whose
        loss is of annotated joints. It is stored with the weights.
        """
        if not isinstance(self.head, DistanceHead):
            raise ValueError("head must be 'distance' for a variance of peaks, got 'offset'")
        if isinstance(variance, bool) or not isinstance(variance, int | float):
            raise TypeError(f"variance must be a real number, got {type(variance).__name__}")
        if not 0 <= variance <= 1e5:
            raise ValueError(f"variance must be between 0 and 1e5, got {variance}")
        self.head.peak_variance.fill_(variance)

    def forward(self, features: list[Tensor]):  # type: ignore[no-untyped-def]
        """Predict the bones of each image.

        Parameters
        ----------
        features : tuple or list of Tensor (B, C, H, W)
            From high to low resolution, as `StackedHourglass` returns them.

        Returns
        -------
        params : Tensor (B, L, 2)
            With the distance head: length in heatmap pixels and log-variance of each link. float32,
            under autocast too, or float64 for a float64 network.
        (offsets, scale_tril) : tuple of Tensor (B, L, D) and Tensor (B, L, D, D)
            With the offset head: the offset of each link, and the lower-triangular Cholesky factor
            of its covariance, with a positive diagonal.

        Raises
        ------
        ValueError
            ``features must be one map per scale``, ``features must shrink by the stride``.
        """
        if len(features) != len(self.steps) + 1:
            raise ValueError(
                f"features must be one map per scale ({len(self.steps) + 1}), got {len(features)}"
            )
        x = self.entry(features[0].detach())
        for i, step in enumerate(self.steps):
            x = step(x, features[i + 1].detach())
        return self.head(self.layers(self.extractor(self.shrink(x))))


class Shrink(nn.Module):
    """A strided convolution; sizes that the stride does not divide are rounded up.

    Parameters
    ----------
    width : int
        Channels in and out.
    stride : int
        Also the size of the kernel.
    plain : bool
        Without normalisation and with ReLU, as in the paper.
    """

    def __init__(self, width: int, stride: int, *, plain: bool) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv2d(width, width, stride, stride)
        self.rest = nn.ReLU() if plain else nn.Sequential(nn.GroupNorm(1, width), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, width, ceil(H / stride), ceil(W / stride))."""
        right, below = -x.shape[3] % self.stride, -x.shape[2] % self.stride
        if right > 0 or below > 0:
            x = functional.pad(x, [0, right, 0, below])
        out: Tensor = self.rest(self.convolution(x))
        return out


class Step(nn.Module):
    """From one scale to the next: a strided convolution, and the next feature map added.

    Parameters
    ----------
    channels : int
        Of the next feature map.
    width, stride, plain
        As for `Shrink`.
    """

    def __init__(self, channels: int, width: int, stride: int, *, plain: bool) -> None:
        super().__init__()
        self.shrink = Shrink(width, stride, plain=plain)
        self.entry = _entry(channels, width, plain=plain)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """Map (B, width, H, W) and the next (B, channels, h, w) to (B, width, h, w)."""
        smaller = self.shrink(x)
        if smaller.shape[2:] != feature.shape[2:]:
            raise ValueError(
                f"features must shrink by the strides, from {list(x.shape[2:])} to "
                f"{list(smaller.shape[2:])}, got {list(feature.shape[2:])}"
            )
        out: Tensor = smaller + self.entry(feature)
        return out


class Standardisation(nn.BatchNorm2d):
    """Batch normalisation whose running statistics are right after the first batch.

    They are the mean over the first ten batches, and only then the usual running mean. That starts
    at 0 and 1, so that a network which has seen few batches gets inputs of another scale in eval
    mode than in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        if not self.training:
            return functional.batch_norm(
                x, mean, variance, self.weight, self.bias, False, 0.0, self.eps
            )
        out = functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        count, momentum = self.num_batches_tracked, self.momentum
        assert count is not None
        assert momentum is not None
        with torch.no_grad():
            count += 1
            share = (1.0 / count).clamp(min=momentum).to(mean.dtype)
            variance_of_batch, mean_of_batch = torch.var_mean(x.to(mean.dtype), [0, 2, 3])
            mean.lerp_(mean_of_batch, share)
            variance.lerp_(variance_of_batch, share)
        return out


def _entry(channels: int, width: int, *, plain: bool) -> nn.Module:
    # The scale of features is anything; standardised, they are what matters most for learning.
    modules: list[nn.Module] = [] if plain else [Standardisation(channels)]
    if channels != width:
        modules.append(nn.Conv2d(channels, width, 1))
    if not plain:
        modules.append(nn.Dropout2d(_MAP_DROPOUT))
    return nn.Sequential(*modules)


def _extractor(width: int, size: int, extractor: str, *, plain: bool) -> nn.Module:
    if extractor == "pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(_LAST_SIZE),
        nn.Conv2d(width, size, _LAST_SIZE),
        nn.Flatten(),
        nn.ReLU() if plain else nn.GELU(),
    )


def _layers(size: int, *, plain: bool) -> tuple[nn.Module, int]:
    """Return the fully connected layers on a vector of a size, and the size that they return."""
    if not plain:
        hidden = nn.Linear(size, _HIDDEN_SIZE)
        return nn.Sequential(hidden, nn.GELU(), nn.Dropout(_DROPOUT)), _HIDDEN_SIZE
    layers: list[nn.Module] = []
    for larger, smaller in itertools.pairwise((size, *_PAPER_LAYERS)):
        layers += [nn.Linear(larger, smaller), nn.ReLU()]
    return nn.Sequential(*layers), _PAPER_LAYERS[-1]


class DistanceHead(nn.Module):
    """Length and log-variance of each link, as deviations from given ones.

    Parameters
    ----------
    in_features : int
        Size of the vector that comes in.
    params : Tensor (L, 2)
        What is predicted before any training.
    """

    def __init__(self, in_features: int, params: Tensor) -> None:
        super().__init__()
        self.longest, self.largest = _LONGEST, _LARGEST_LOG_VARIANCE
        self.linear = _zero(nn.Linear(in_features, params.numel()))
        self.params = nn.Buffer(params)
        self.peak_variance = nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_features) to (B, L, 2)."""
        raw = _widened(self.linear(x)).reshape(-1, self.params.shape[0], 2)
        length, log_variance = self.params[:, 0], self.params[:, 1]
        longer = _bounded(raw[..., 0], torch.log(self.longest / length))
        wider = _bounded(raw[..., 1], self.largest - log_variance.abs())
        log_variance = torch.logaddexp(log_variance + wider, self.peak_variance.log())
        return torch.stack([length * longer.exp(), log_variance], dim=-1)


class OffsetHead(nn.Module):
    """Offset of each link and the Cholesky factor of its covariance, relative to given ones.

    Parameters
    ----------
    in_features : int
        Size of the vector that comes in.
    offsets, scale_tril : Tensor (L, D), Tensor (L, D, D)
        What is predicted before any training.
    """

    def __init__(self, in_features: int, offsets: Tensor, scale_tril: Tensor) -> None:
        super().__init__()
        self.largest = _LARGEST_LOG_SCALE
        # Of the D x D numbers for a factor those above the diagonal are not read.
        self.linear = _zero(nn.Linear(in_features, offsets.numel() + scale_tril.numel()))
        self.offsets = nn.Buffer(offsets)
        self.scale_tril = nn.Buffer(scale_tril)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, in_features) to (B, L, D) and (B, L, D, D)."""
        num_links, dimensions = self.offsets.shape
        raw = _widened(self.linear(x)).reshape(-1, num_links, dimensions, dimensions + 1)
        shift, factor = raw[..., :1], raw[..., 1:]
        diagonal = torch.diagonal(factor, dim1=-2, dim2=-1)
        log_scale = _bounded(diagonal, torch.full_like(diagonal, self.largest))
        factor = factor.tril(-1) + torch.diag_embed(log_scale.exp())
        moved, scaled = _product(self.scale_tril, shift), _product(self.scale_tril, factor)
        return self.offsets + moved[..., 0], scaled


def _bounded(x: Tensor, limit: Tensor) -> Tensor:
    """Return about x near 0, never farther from it than ``limit``, and with a slope everywhere."""
    return x / (1 + x.abs() / limit)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b, but in full precision under autocast."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _zero(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _per_scale(channels: object, num_scales: int | None) -> list[int]:
    """Return the channels of each scale."""
    if num_scales is not None:
        num_scales = integer(num_scales, "num_scales", 1, _MAX_SCALES)
    if isinstance(channels, Sequence) and not isinstance(channels, str):
        if num_scales not in (None, len(channels)) or not 1 <= len(channels) <= _MAX_SCALES:
            rule = num_scales or f"1 to {_MAX_SCALES}"
            raise ValueError(f"channels must be one per scale ({rule}), got {len(channels)}")
        return [integer(size, "channels", 1, _MAX_SIZE) for size in channels]
    return [integer(channels, "channels", 1, _MAX_SIZE)] * (num_scales or _NUM_SCALES)


def _per_step(strides: object, num_scales: int) -> list[int]:
    """Return the stride between each two scales, and those beyond."""
    if isinstance(strides, Sequence) and not isinstance(strides, str):
        if not num_scales - 1 <= len(strides) <= _MAX_SCALES:
            raise ValueError(
                f"strides must be at least one between each two scales ({num_scales - 1}), and at "
                f"most {_MAX_SCALES}, got {len(strides)}"
            )
        return [integer(stride, "strides", 1, _MAX_STRIDE) for stride in strides]
    return [integer(strides, "strides", 1, _MAX_STRIDE)] * (num_scales - 1)


def _checked_map(feature: object) -> tuple[int, int, int, int]:
    """Return the shape of a feature map."""
    if not isinstance(feature, Tensor):
        raise TypeError(f"features must be tensors, got {type(feature).__name__}")
    if feature.ndim != 4 or 0 in feature.shape[1:]:
        raise ValueError(f"features must be (B, C, H, W) and not empty, got {tuple(feature.shape)}")
    batch, channels, height, width = feature.shape
    return batch, channels, height, width


def _stride_between(larger: tuple[int, int], smaller: tuple[int, int]) -> int:
    pairs = list(zip(larger, smaller, strict=True))
    stride = max(math.ceil(large / small) for large, small in pairs)
    if any(math.ceil(large / stride) != small for large, small in pairs):
        raise ValueError(
            "features must go from high to low resolution, each a whole number of times smaller, "
            f"got {larger[0]}x{larger[1]} before {smaller[0]}x{smaller[1]}"
        )
    return stride


def _checked_params(params: Any, num_links: int) -> Tensor:
    """Return what a distance head predicts first, (L, 2)."""
    if params is None:
        return torch.tensor(_USUAL_PARAMS).repeat(num_links, 1)
    rows = _numbers("params", params, (num_links, 2), "(L, 2)")
    length, log_variance = rows[:, 0], rows[:, 1]
    if not ((length >= 0) & (length <= 1e5) & (log_variance.abs() <= 19)).all():
        raise ValueError(
            "params must hold lengths from 0 to 1e5 and log-variances from -19 to 19, "
            f"got {rows.tolist()}"
        )
    return torch.stack([length.clamp(min=_SHORTEST), log_variance], dim=1)


def _checked_offset_params(params: Any, num_links: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Return what an offset head predicts first, (L, D) and (L, D, D)."""
    if params is None:
        scale = _USUAL_OFFSET_SCALE * torch.eye(dimensions)
        return torch.zeros(num_links, dimensions), scale.repeat(num_links, 1, 1)
    if not isinstance(params, Sequence) or len(params) != 2:
        raise TypeError(
            f"offset_params must be a pair (offsets, scale_tril), got {type(params).__name__}"
        )
    shape = (num_links, dimensions)
    offsets = _numbers("offset_params[0]", params[0], shape, "(L, D)")
    scale_tril = _numbers("offset_params[1]", params[1], (*shape, dimensions), "(L, D, D)")
    diagonal = torch.diagonal(scale_tril, dim1=-2, dim2=-1)
    if scale_tril.triu(1).any() or not (diagonal > 0).all():
        raise ValueError(
            "offset_params[1] must be lower-triangular with a positive diagonal, "
            f"got {scale_tril.tolist()}"
        )
    return offsets, scale_tril


def _numbers(argument: str, values: Any, shape: tuple[int, ...], letters: str) -> Tensor:
    """Return a float32 copy on the CPU."""
    try:
        array = values.detach().cpu() if is_tensor(values) else np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{argument} must be numbers {letters}, got {type(values).__name__}: {error}"
        ) from None
    if tuple(array.shape) != shape:
        raise ValueError(f"{argument} must be {letters} = {shape}, got {tuple(array.shape)}")
    numbers = torch.as_tensor(array, dtype=torch.float32).clone()
    if not torch.isfinite(numbers).all():
        raise ValueError(f"{argument} must be finite, got {numbers.tolist()}")
    return numbers
