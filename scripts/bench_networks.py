"""Time of one training step (forward and backward) and of inference of network variants, side by side.

    python scripts/bench_networks.py [--patch 80 64 40] [--batch 2] [--channels 16 32 64 128] [--rounds 5]

The variants take turns, so that whatever else the machine does falls on all of them; medians are printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from medseg.models import blocks, norm
from medseg.models.convolutions import HalvedConv3d
from medseg.models.layout import plan_layout
from medseg.models.unet import UNet, UNetShape

CLASSES = 6


class TorchInstanceNorm(nn.InstanceNorm3d):
    """What the library's own instance norm replaces."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)


def build(args: argparse.Namespace, **options: bool | str) -> UNet:
    layout = plan_layout(args.patch, "ijk", len(args.channels), 3)
    style = blocks.Style(3, options.pop("norm", "instance"))
    options.setdefault("blocks", (2,) * layout.depth)
    options.setdefault("decoder_blocks", (2,) * (layout.depth - 1))
    shape = UNetShape(layout, args.channels, **options)
    return UNet(1, CLASSES, shape, style)


def with_torch_norm(network: nn.Module) -> nn.Module:
    for name, child in network.named_children():
        if isinstance(child, norm.InstanceNorm):
            setattr(network, name, TorchInstanceNorm(len(child.weight)))
        else:
            with_torch_norm(child)
    return network


def with_torch_conv(network: nn.Module) -> nn.Module:
    """Small convolutions of one sample by PyTorch's own routine (``--batch 1``)."""
    for module in network.modules():
        if isinstance(module, HalvedConv3d):
            module.__class__ = nn.Conv3d
    return network


def not_in_place(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.LeakyReLU):
            module.inplace = False
    return network


def variants(args: argparse.Namespace) -> dict[str, Callable[[], nn.Module]]:
    def last(network: nn.Module) -> nn.Module:
        return blocks.use_channels_last(network, 3)

    return {
        "as shipped: channels last, own norm": lambda: last(build(args)),
        "contiguous, torch's norm": lambda: with_torch_norm(build(args)),
        "channels last, torch's norm": lambda: last(with_torch_norm(build(args))),
        "torch's convolutions": lambda: last(with_torch_conv(build(args))),
        "activations not in place": lambda: last(not_in_place(build(args))),
        "batch norm": lambda: last(build(args, norm="batch")),
        "no norm": lambda: last(build(args, norm="none")),
        "linear upsampling": lambda: last(build(args, linear_upsampling=True)),
        "max pooling": lambda: last(build(args, max_pooling=True)),
        "residual, 1 block a stage": lambda: last(
            build(args, residual=True, blocks=(1,) * len(args.channels))
        ),
    }


def train_step(network: nn.Module, x: Tensor, y: Tensor) -> None:
    network.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(network(x), y).backward()


def infer_step(network: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        network(x)


def seconds(step: Callable[..., None], *args: object) -> float:
    start = time.perf_counter()
    step(*args)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patch", type=int, nargs=3, default=[80, 64, 40])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="words that must be in a variant's name")
    args = parser.parse_args()
    torch.manual_seed(0)
    x, y = torch.randn(args.batch, 1, *args.patch), torch.randint(CLASSES, (args.batch, *args.patch))
    chosen = {
        name: make()
        for name, make in variants(args).items()
        if not args.only or any(word in name for word in ("shipped", *args.only))
    }
    train: dict[str, list[float]] = {name: [] for name in chosen}
    infer: dict[str, list[float]] = {name: [] for name in chosen}
    for turn in range(args.rounds + 1):
        for name, network in chosen.items():
            train_s = seconds(train_step, network.train(), x, y)
            infer_s = seconds(infer_step, network.eval(), x)
            if turn:  # the first warms up
                train[name].append(train_s)
                infer[name].append(infer_s)
    report(args, chosen, train, infer)


def report(
    args: argparse.Namespace,
    chosen: dict[str, nn.Module],
    train: dict[str, list[float]],
    infer: dict[str, list[float]],
) -> None:
    size = "x".join(str(n) for n in args.patch)
    print(f"3D U-Net {args.channels}, patch {size}, batch {args.batch}, {torch.get_num_threads()} threads,")
    print(f"torch {torch.__version__}; medians of {args.rounds}\n")
    print(f"{'variant':<38}{'parameters':>11}{'train ms':>10}{'ratio':>7}{'infer ms':>10}{'ratio':>7}")
    medians = {name: (statistics.median(train[name]), statistics.median(infer[name])) for name in chosen}
    base_train, base_infer = next(iter(medians.values()))
    for name, (train_s, infer_s) in medians.items():
        count = sum(p.numel() for p in chosen[name].parameters())
        told = f"{train_s * 1e3:>10.0f}{train_s / base_train:>7.2f}"
        told += f"{infer_s * 1e3:>10.0f}{infer_s / base_infer:>7.2f}"
        print(f"{name:<38}{count:>11,}{told}")


if __name__ == "__main__":
    main()
