"""nnU-Net's own predictor on one scan, file to file; run by the Python that has nnunetv2.

    python run_nnunet.py MODEL_FOLDER SCAN MASK_WITHOUT_ENDING

As ``nnUNetv2_predict`` calls it (a step of half a window, three processes each for preprocessing and export),
without mirroring. The last line of standard output is JSON: seconds by part.
"""

import json
import os
import sys
import tempfile
import time

BEGIN = time.perf_counter()
FOLDERS = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), tempfile.gettempdir())


def main() -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder, scan, mask = sys.argv[1:4]
    marks = {"import": time.perf_counter()}
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(folder, (0,))
    marks["load"] = time.perf_counter()
    predict = predictor.predict_logits_from_preprocessed_data

    def timed(data: torch.Tensor) -> torch.Tensor:
        marks["preprocess"] = time.perf_counter()
        logits = predict(data)
        marks["network"] = time.perf_counter()
        return logits

    predictor.predict_logits_from_preprocessed_data = timed
    predictor.predict_from_files(
        [[scan]], [mask], num_processes_preprocessing=3, num_processes_segmentation_export=3
    )
    marks["export"] = time.perf_counter()
    before = [BEGIN, *list(marks.values())[:-1]]
    seconds = {name: end - start for (name, end), start in zip(marks.items(), before, strict=True)}
    print(json.dumps(seconds))


if __name__ == "__main__":  # nnU-Net starts processes that import this file again
    os.environ.update(FOLDERS)
    main()
