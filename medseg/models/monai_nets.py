"""Networks that MONAI has. Imported when asked for: importing MONAI takes seconds."""

import warnings

from torch import nn

from medseg.config.model import SegResNetConfig, SwinUNETRConfig
from medseg.models.layout import require_multiple, require_room

SWIN_STRIDE = 32


def build_segresnet(
    config: SegResNetConfig, inputs: int, classes: int, size: tuple[int, ...], axes: str
) -> nn.Module:
    """SegResNet (Myronenko 2018), without the autoencoder branch.

    Raises:
        ConfigError: the patch is no multiple of 2 ** (stages - 1) along some axis.
    """
    multiple = 2 ** (len(config.blocks_down) - 1)
    require_multiple(size, axes, (multiple,) * len(size), "SegResNet halves every axis at each stage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns about its own dependencies
        from monai.networks.nets import SegResNet  # noqa: PLC0415 - heavy

        network: nn.Module = SegResNet(
            spatial_dims=config.spatial_dims,
            init_filters=config.init_filters,
            in_channels=inputs,
            out_channels=classes,
            dropout_prob=config.dropout or None,
            blocks_down=config.blocks_down,
            blocks_up=config.blocks_up,
        )
    nn.init.zeros_(network.get_parameter("conv_final.2.conv.bias"))
    return network


def build_swin_unetr(
    config: SwinUNETRConfig, inputs: int, classes: int, size: tuple[int, ...], axes: str
) -> nn.Module:
    """Swin UNETR (Hatamizadeh 2022).

    Raises:
        ConfigError: the patch is no multiple of 32 along some axis, or has 32 along all.
    """
    multiples = (SWIN_STRIDE,) * len(size)
    require_multiple(size, axes, multiples, "Swin UNETR halves every axis five times")
    require_room(size, multiples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks.nets import SwinUNETR  # noqa: PLC0415 - heavy

        network: nn.Module = SwinUNETR(
            in_channels=inputs,
            out_channels=classes,
            feature_size=config.feature_size,
            drop_rate=config.dropout,
            spatial_dims=config.spatial_dims,
        )
    nn.init.zeros_(network.get_parameter("out.conv.conv.bias"))
    return network
