"""Networks of MONAI that a configuration may name, and the arguments that may be given to each.

Numbers of channels and axes are not among them: they follow from the rest of the experiment. Arguments are
plain values; nothing is looked up by a path, so a model file cannot name code.
"""

from typing import Literal

NetworkName = Literal[
    "UNet",
    "BasicUNet",
    "AttentionUnet",
    "DynUNet",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "VNet",
    "MedNeXt",
]

_UNET = ("channels", "strides", "kernel_size", "up_kernel_size", "dropout")
_SEGRESNET = ("init_filters", "act", "norm", "blocks_down", "blocks_up", "upsample_mode")

ARGUMENTS: dict[NetworkName, tuple[str, ...]] = {
    "UNet": (*_UNET, "num_res_units", "act", "norm", "bias", "adn_ordering"),
    "BasicUNet": ("features", "act", "norm", "bias", "dropout", "upsample"),
    "AttentionUnet": _UNET,
    "DynUNet": (
        "kernel_size", "strides", "upsample_kernel_size", "filters", "dropout", "norm_name", "act_name",
        "res_block", "trans_bias",
    ),
    "SegResNet": (*_SEGRESNET, "dropout_prob", "norm_name", "num_groups", "use_conv_final"),
    "SegResNetDS": (*_SEGRESNET, "dsdepth"),
    "SwinUNETR": (
        "feature_size", "depths", "num_heads", "window_size", "patch_size", "qkv_bias", "mlp_ratio",
        "norm_name", "drop_rate", "attn_drop_rate", "dropout_path_rate", "normalize", "patch_norm",
        "downsample", "use_v2",
    ),
    "VNet": ("act", "dropout_prob", "dropout_prob_down", "dropout_prob_up", "dropout_dim", "bias"),
    "MedNeXt": (
        "init_filters", "encoder_expansion_ratio", "decoder_expansion_ratio", "bottleneck_expansion_ratio",
        "kernel_size", "use_residual_connection", "blocks_down", "blocks_bottleneck", "blocks_up",
        "norm_type", "global_resp_norm",
    ),
}  # fmt: skip
"""What decides the network's numbers, by class."""

REQUIRED: dict[NetworkName, tuple[str, ...]] = {
    "UNet": ("channels", "strides"),
    "AttentionUnet": ("channels", "strides"),
    "DynUNet": ("kernel_size", "strides", "upsample_kernel_size"),
}
"""What has no default."""
