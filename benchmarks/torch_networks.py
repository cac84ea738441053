"""StackGAN in plain PyTorch: the same networks and the same training step, to measure against.

Images are (batch, channels, height, width), as PyTorch has them unless told otherwise.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import chain, pairwise

import torch
from release import BETA_1, CONDITION_DIM, KL_WEIGHT, LEARNING_RATE, NOISE_DIM, TEXT_DIM, Sizes, random_batch
from torch import nn
from torch.nn import functional

# -- networks -----------------------------------------------------------------------------------------------------


def convolve(channels: int, filters: int, size: int = 3, *, norm: bool = True, slope: float = 0.0) -> list[nn.Module]:
    """Convolution, batch norm, LeakyReLU (plain ReLU with slope 0). Size 3 keeps the map's size, size 4 halves it."""
    convolution = nn.Conv2d(channels, filters, size, stride=size - 2, padding=1, bias=False)
    activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return [convolution, nn.BatchNorm2d(filters), activation] if norm else [convolution, activation]


def grow(channels: int, doublings: int) -> nn.Sequential:
    """Up-blocks, each with half the channels of the one before, and the image."""
    widths = [channels // 2**i for i in range(doublings + 1)]
    blocks = [[nn.Upsample(scale_factor=2), *convolve(wide, narrow)] for wide, narrow in pairwise(widths)]
    return nn.Sequential(*chain(*blocks), nn.Conv2d(widths[-1], 3, 3, padding=1, bias=False), nn.Tanh())


class ConditioningAugmentation(nn.Module):
    """The sentence's condition, drawn from a Gaussian around it; its mean and log-variance."""

    def __init__(self):
        super().__init__()
        self.moments = nn.Linear(TEXT_DIM, 2 * CONDITION_DIM)

    def forward(self, embedding, epsilon):
        mean, log_variance = functional.relu(self.moments(embedding)).chunk(2, dim=1)
        return mean + torch.exp(log_variance / 2) * epsilon, mean, log_variance


class Stage1Generator(nn.Module):
    """A sentence and noise to the Stage-I image."""

    def __init__(self, image_size: int, filters: int):
        super().__init__()
        width = 8 * filters
        self.text = ConditioningAugmentation()
        self.project = nn.Sequential(
            nn.Linear(NOISE_DIM + CONDITION_DIM, 16 * width, bias=False),
            nn.BatchNorm1d(16 * width),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (width, 4, 4)),
        )
        self.grow = grow(width, doublings=int(math.log2(image_size / 4)))

    def forward(self, embedding, noise, epsilon):
        condition, mean, log_variance = self.text(embedding, epsilon)
        return self.grow(self.project(torch.cat([noise, condition], 1))), mean, log_variance


class ResidualBlock(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Sequential(*convolve(channels, channels), *convolve(channels, channels)[:-1])

    def forward(self, x):
        return functional.relu(x + self.inner(x), inplace=True)


class Stage2Generator(nn.Module):
    """The image of a frozen Stage I, in inference mode, to a larger one."""

    def __init__(self, image_size: int, filters: int, stage1_size: int, residual_blocks: int):
        super().__init__()
        self.frozen = Stage1Generator(stage1_size, filters).requires_grad_(False).eval()
        self.text = ConditioningAugmentation()
        self.encode = nn.Sequential(
            *convolve(3, filters, norm=False),
            *convolve(filters, 2 * filters, 4),
            *convolve(2 * filters, 4 * filters, 4),
        )
        self.join = nn.Sequential(
            *convolve(4 * filters + CONDITION_DIM, 4 * filters),
            *(ResidualBlock(4 * filters) for _ in range(residual_blocks)),
        )
        self.grow = grow(4 * filters, doublings=int(math.log2(4 * image_size / stage1_size)))

    def forward(self, embedding, noise, epsilon, stage1_epsilon):
        with torch.no_grad():
            stage1_image, *_ = self.frozen(embedding, noise, stage1_epsilon)
        condition, mean, log_variance = self.text(embedding, epsilon)
        return self.grow(self.join(beside(self.encode(stage1_image), condition))), mean, log_variance


class Discriminator(nn.Module):
    """An image encoder and its logits, to be called one by one."""

    def __init__(self, image_size: int, filters: int, unconditional: bool):
        super().__init__()
        steps = int(math.log2(image_size / 4))
        down = [3] + [filters * 2**i for i in range(steps)]
        narrow = [filters * 2**i for i in range(steps - 1, 2, -1)]  # big images end wider than 8 filters
        layers = [convolve(i, o, 4, norm=i != 3, slope=0.2) for i, o in pairwise(down)]
        layers += [convolve(i, o, slope=0.2) for i, o in pairwise(narrow)]
        width = min(down[-1], 8 * filters)
        self.encode = nn.Sequential(*chain(*layers))
        self.conditional = nn.Sequential(
            *convolve(width + CONDITION_DIM, 8 * filters, slope=0.2), nn.Conv2d(8 * filters, 1, 4), nn.Flatten(0)
        )
        self.unconditional = nn.Sequential(nn.Conv2d(width, 1, 4), nn.Flatten(0)) if unconditional else None

    def logits(self, features, text) -> list[torch.Tensor]:
        """The conditional and, in Stage II, the unconditional logits (batch,)."""
        conditional = self.conditional(beside(features, text))
        return [conditional] if self.unconditional is None else [conditional, self.unconditional(features)]


def beside(features, text):
    """A map of features with a vector at every place of it."""
    return torch.cat([features, text[:, :, None, None].expand(-1, -1, *features.shape[2:])], 1)


@torch.no_grad()
def initialize(module: nn.Module) -> None:
    """The release's first weights, for one layer."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        module.weight.normal_(0, 0.02)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        module.weight.normal_(1, 0.02)


# -- the training step --------------------------------------------------------------------------------------------


def make_step(generator: nn.Module, discriminator: Discriminator, precision: str = "float32") -> Callable:
    """`step(batch)`: one step of both networks; returns their losses."""
    kind = {"float32": torch.float32, "mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}[precision]
    place = next(generator.parameters()).device.type
    arithmetic = torch.autocast(place, kind, enabled=kind != torch.float32)
    apply_to_generator = _make_apply(generator, place, scaled=kind == torch.float16)
    apply_to_discriminator = _make_apply(discriminator, place, scaled=kind == torch.float16)
    reads = ["embedding", "noise", "epsilon"] + ["stage1_epsilon"] * isinstance(generator, Stage2Generator)

    def loss_of(logits, target: float):
        return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def step(batch):
        with arithmetic:
            image, mean, log_variance = generator(*(batch[name] for name in reads))
            text = mean.detach()
            real, fake = discriminator.encode(batch["image"]), discriminator.encode(image.detach())
            on_real = [loss_of(logits, 1.0) for logits in discriminator.logits(real, text)]
            on_fake = [loss_of(logits, 0.0) for logits in discriminator.logits(fake, text)]
            on_mismatched = loss_of(discriminator.conditional(beside(real[:-1], text[1:])), 0.0)
            of_discriminator = sum(on_real) / len(on_real) + (on_mismatched + sum(on_fake)) / (1 + len(on_fake))
        apply_to_discriminator(of_discriminator)

        discriminator.requires_grad_(False)  # no gradients where nobody needs them
        with arithmetic:
            of_generator = sum(
                loss_of(logits, 1.0) for logits in discriminator.logits(discriminator.encode(image), text)
            )
            kl = torch.mean(0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance))
        apply_to_generator(of_generator + KL_WEIGHT * kl)
        discriminator.requires_grad_(True)
        return {"discriminator": of_discriminator.detach(), "generator": of_generator.detach(), "kl": kl.detach()}

    return step


def _make_apply(network: nn.Module, place: str, *, scaled: bool) -> Callable:
    """`apply(loss)`: one step of Adam; the loss is scaled where float16 would lose small gradients."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE, betas=(BETA_1, 0.999))
    scaler = torch.amp.GradScaler(place, enabled=scaled)

    def apply(loss):
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return apply


# -- what train_step.py asks for ----------------------------------------------------------------------------------


def set_up(threads: int) -> None:
    """Limits the threads; to be called before anything else."""
    torch.set_num_threads(threads)


def device() -> str:
    return "GPU" if torch.cuda.is_available() else "CPU"


def peak_gpu_memory() -> int:
    """Bytes, 0 without a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def make(sizes: Sizes, precision: str, jit: bool, layout=torch.contiguous_format) -> tuple[dict[str, int], Callable]:
    """The numbers of parameters, and `step(batch)`; `layout` is the weights', and what is computed takes it on."""
    generator = _generator(sizes)
    discriminator = Discriminator(sizes.image_size, sizes.discriminator_filters, unconditional=bool(sizes.stage1_size))
    for network in (generator, discriminator):
        network.apply(initialize).to(_place(), memory_format=layout)
    if jit:
        for part in (generator, *discriminator.children()):
            part.compile()
    return _count(generator, discriminator), make_step(generator, discriminator, precision)


def make_generating(sizes: Sizes, precision: str, jit: bool) -> tuple[dict[str, int], Callable]:
    """The numbers of parameters, and `step(batch)`, which generates an image of every row and returns their mean."""
    generator = _generator(sizes)
    generator.apply(initialize).to(_place()).eval()
    arithmetic = torch.autocast(_place().type, torch.bfloat16, enabled=precision != "float32")
    reads = ["embedding", "noise", "epsilon"] + ["stage1_epsilon"] * bool(sizes.stage1_size)
    if jit:
        generator.compile()

    @torch.no_grad()
    def generate(batch):
        with arithmetic:
            return {"image": generator(*(batch[name] for name in reads))[0].mean()}

    every = [value for value in generator.state_dict().values() if value.is_floating_point()]
    return {"generator": sum(value.numel() for value in every)}, generate


make_channels_last = partial(make, layout=torch.channels_last)


def make_batch(sizes: Sizes) -> dict[str, torch.Tensor]:
    """Images as (batch, channels, height, width)."""
    batch = {name: torch.from_numpy(values).to(_place()) for name, values in random_batch(sizes).items()}
    return {**batch, "image": batch["image"].permute(0, 3, 1, 2).contiguous()}


def _generator(sizes: Sizes) -> nn.Module:
    if sizes.stage1_size is None:
        return Stage1Generator(sizes.image_size, sizes.generator_filters)
    return Stage2Generator(sizes.image_size, sizes.generator_filters, sizes.stage1_size, sizes.residual_blocks)


def _place() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _count(generator: nn.Module, discriminator: nn.Module) -> dict[str, int]:
    """Numbers in the networks: all, with the batch norms' averages, and those that are trained."""
    networks = {"generator": generator, "discriminator": discriminator}
    every = {name: [v for v in p.state_dict().values() if v.is_floating_point()] for name, p in networks.items()}
    trained = [v for p in networks.values() for v in p.parameters() if v.requires_grad]
    return {name: sum(v.numel() for v in values) for name, values in {**every, "trained": trained}.items()}
