"""Skip connections as sums: the same logits, in less memory."""

import torch
from torch import Tensor, nn

from medseg.config.model import UNetConfig
from medseg.inference.openvino_graph import convert_network, openvino_core
from medseg.inference.openvino_memory import block_bytes
from medseg.inference.openvino_skip import sum_skips
from medseg.models import build_network

SIZE = (16, 24, 8)


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    config = UNetConfig(kind="unet", channels=(8, 16, 32))
    return {
        "skips": build_network(config, in_channels=2, classes=3, patch_size=SIZE).eval(),
        "read twice": ReadTwice().eval(),
    }


class ReadTwice(nn.Module):
    """What it puts side by side is read by two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(4, 3, 3, padding=1) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        both = torch.cat([image, image.tanh()], 1)
        result: Tensor = self.first(both) + self.second(both)
        return result


def test_a_u_net_gives_the_same_logits_in_less_memory() -> None:
    image = torch.randn(1, 2, *SIZE)
    for name, (summed, saves) in {"skips": (2, True), "read twice": (0, False)}.items():
        network = networks()[name]
        plain, changed = (convert_network(network, 2, SIZE) for _ in range(2))
        assert sum_skips(changed) == summed, name
        before, after = (openvino_core().compile_model(model, "CPU") for model in (plain, changed))
        expected, found = (torch.from_numpy(one(image.numpy())[0]) for one in (before, after))
        assert torch.allclose(found, expected, atol=1e-4), name
        assert (block_bytes(after) < block_bytes(before)) == saves, name
