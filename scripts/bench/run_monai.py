"""A MONAI inference script as its 3D segmentation tutorials write it, on one scan, file to file.

    python run_monai.py MODEL.safetensors SCAN OUTPUT_FOLDER

Load, orient, resample linearly, scale intensities; SlidingWindowInferer with Gaussian weights and half
a window of overlap; invert, argmax, save. The network is MONAI's DynUNet with the weights of MODEL. The last
line of standard output is JSON: seconds by part.
"""

import json
import sys
import time
from pathlib import Path

BEGIN = time.perf_counter()
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    import torch
    from monai.data import decollate_batch, list_data_collate
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        Orientationd,
        SaveImaged,
        ScaleIntensityRanged,
        Spacingd,
    )

    from bench.monai_network import build_dynunet
    from medseg.modelfile import load_model

    model_path, scan, out = sys.argv[1:4]
    marks = {"import": time.perf_counter()}
    model = load_model(Path(model_path))
    network = build_dynunet(model)
    told = model.fitted["intensity"][0]
    marks["load"] = time.perf_counter()
    before = Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes=model.experiment.preprocessing.orientation),
            Spacingd(keys="image", pixdim=model.fitted["spacing_mm"], mode="bilinear"),
            ScaleIntensityRanged(
                keys="image",
                a_min=told["low"],
                a_max=told["high"],
                b_min=(told["low"] - told["mean"]) / told["sd"],
                b_max=(told["high"] - told["mean"]) / told["sd"],
                clip=True,
            ),
        ]
    )
    after = Compose(
        [
            Invertd(keys="pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted(keys="pred", argmax=True),
            SaveImaged(
                keys="pred", output_dir=out, output_postfix="seg", separate_folder=False, print_log=False
            ),
        ]
    )
    inferer = SlidingWindowInferer(
        roi_size=model.experiment.sampling.patch_size, sw_batch_size=1, overlap=0.5, mode="gaussian"
    )
    with torch.no_grad():
        batch = list_data_collate([before({"image": scan})])
        marks["preprocess"] = time.perf_counter()
        batch["pred"] = inferer(batch["image"], network)
        marks["network"] = time.perf_counter()
        for item in decollate_batch(batch):
            after(item)
    marks["export"] = time.perf_counter()
    starts = [BEGIN, *list(marks.values())[:-1]]
    print(json.dumps({name: end - start for (name, end), start in zip(marks.items(), starts, strict=True)}))


if __name__ == "__main__":
    main()
