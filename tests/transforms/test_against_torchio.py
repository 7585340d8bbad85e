"""Our fast transforms and TorchIO's own: the same values where both are told the same, the same spread."""

import numpy as np
import torch
import torchio as tio
from pydantic import TypeAdapter
from scipy import stats

from medseg.config.augmentation import Augmentation
from medseg.transforms.acquisition import polynomial
from medseg.transforms.along import gaussian_matrix, planes_matrix, product_along
from medseg.transforms.appearance import Gamma, Noise
from medseg.transforms.patch import patch_subject
from medseg.transforms.randomness import normal_of, normal_seeds, seeded
from medseg.transforms.warp import Warp, sample_image, warp_coordinates

PARSE = TypeAdapter(Augmentation).validate_python
SHAPE = (24, 20, 16)


def smooth(shape=SHAPE) -> torch.Tensor:
    i, j, k = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return (torch.sin(i / 4) + torch.cos(j / 5) + torch.sin(k / 3) + 3)[None]


def stock(transform: tio.Transform, image: torch.Tensor, spacing=(1.0, 1.0, 1.0)) -> torch.Tensor:
    subject = patch_subject(image, torch.zeros(image.shape[1:], dtype=torch.uint8), spacing)
    return transform(subject)["image"].data


def test_blur_is_theirs():
    image, spacing, std_mm = smooth(), (1.0, 1.5, 2.0), 1.5
    ours = image
    for axis, (size, step) in enumerate(zip(SHAPE, spacing, strict=True)):
        ours = product_along(ours, gaussian_matrix(size, std_mm / step), axis)
    theirs = stock(tio.Blur(std=(std_mm,) * 3), image, spacing)
    inner = (slice(None), *[slice(6, -6)] * 3)  # the ends go on here, there they are mirrored
    assert torch.allclose(ours[inner], theirs[inner], atol=2e-3)
    assert not torch.allclose(ours[inner], image[inner], atol=2e-3)


def test_gamma_is_theirs_between_nought_and_one():
    image = smooth()
    image = (image - image.min()) / (image.max() - image.min())
    config = PARSE({"kind": "gamma", "p": 1, "log_gamma": 0.5})
    with seeded(4):
        changed = Gamma(config).change(tio.ScalarImage(tensor=image))
    middle = (image > 0.2) & (image < 0.8)
    gamma = float((changed[middle].log() / image[middle].log()).median())
    assert 0.6 < gamma < 1.65 and abs(gamma - 1) > 0.01
    assert torch.allclose(changed, stock(tio.Gamma(gamma=gamma), image), atol=1e-4)


def test_gamma_is_spread_as_theirs():
    image = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1)
    config = PARSE({"kind": "gamma", "p": 1, "log_gamma": 0.3})
    ours, theirs = [], []
    for seed in range(300):
        with seeded(seed):
            ours.append(float(Gamma(config).change(tio.ScalarImage(tensor=image))[0, 1, 0, 0]))
        with seeded(seed + 1000):
            theirs.append(float(0.5 ** tio.RandomGamma(log_gamma=0.3).get_params((-0.3, 0.3))))
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def test_bias_is_theirs():
    """Their field is exp of the same polynomial, over axes that run from -1 to 1 as ours do."""
    order, generator = 2, np.random.default_rng(0)
    ours, flat = np.zeros((order + 1,) * 3), []
    for i in range(order + 1):
        for j in range(order + 1 - i):
            for k in range(order + 1 - (i + j)):
                value = float(generator.uniform(-0.3, 0.3)) if i + j + k else 0.0
                ours[i, j, k] = value
                flat.append(value)
    image = torch.ones((1, *SHAPE))
    theirs = stock(tio.BiasField(coefficients=flat, order=order), image)[0]
    field = polynomial(ours, SHAPE).exp()
    assert float((theirs / field).std()) < 0.02 * float(theirs.std())


def test_movement_is_theirs_in_its_planes():
    """Two halves of k-space from an image and its shifted copy, theirs by a transform of the whole volume."""
    still, moved = smooth()[0], smooth()[0].roll(2, 0)
    size = SHAPE[0]
    first, second = np.zeros(size), np.zeros(size)
    first[: size // 2], second[size // 2 :] = 1, 1
    ours = product_along(still[None], planes_matrix(first), 0)
    ours = ours + product_along(moved[None], planes_matrix(second), 0)
    spectra = [tio.transforms.fourier.FourierTransform.fourier_transform(part) for part in (still, moved)]
    spectrum = spectra[0].clone()
    spectrum[size // 2 :] = spectra[1][size // 2 :]
    theirs = tio.transforms.fourier.FourierTransform.inv_fourier_transform(spectrum).real
    assert torch.allclose(ours[0], theirs, atol=1e-4)


def test_elastic_deformation_is_theirs():
    """Their control points move as ours do; both are cubic B-splines, ours with its outermost on the ends."""
    shape, spacing = (33, 33, 33), (1.0, 1.0, 1.0)
    image = smooth(shape)
    shift = np.zeros((7, 7, 7, 3))
    shift[...] = (2.0, -1.0, 0.5)  # the same everywhere, so that the places of the points do not count
    theirs = stock(tio.ElasticDeformation(shift, (2.0, 2.0, 2.0)), image, spacing)
    control = np.moveaxis(shift, -1, 0)
    found = []
    for sign in (1, -1):  # their displacements are in the axes of ITK, where two of ours are turned round
        warp = Warp(np.eye(3), np.zeros(3), control * np.array([sign, sign, 1]).reshape(3, 1, 1, 1))
        found.append(sample_image(image, warp_coordinates(warp, shape, shape)))
    inner = (slice(None), *[slice(8, -8)] * 3)
    distances = [float((one[inner] - theirs[inner]).abs().max()) for one in found]
    assert min(distances) < 0.02 < max(distances)


def test_noise_is_spread_as_theirs():
    config = PARSE({"kind": "noise", "p": 1, "std": 0.1})
    image = tio.ScalarImage(tensor=torch.zeros((1, *SHAPE)))
    ours, theirs = [], []
    for seed in range(100):
        with seeded(seed):
            ours.append(Noise(config).change(image))
        with seeded(1000 + seed):
            theirs.append(stock(tio.RandomNoise(std=(0, 0.1)), image.data))
    strengths = [[float(one.std()) for one in each] for each in (ours, theirs)]
    assert stats.ks_2samp(*strengths).pvalue > 1e-3 and max(strengths[0]) < 0.105
    values = [
        torch.cat([(one / one.std()).flatten()[::97] for one in each]).numpy() for each in (ours, theirs)
    ]
    assert stats.ks_2samp(*values).pvalue > 1e-3


def test_normal_numbers_are_normal_and_know_nothing_of_each_other():
    with seeded(5):
        one, two = (normal_of(normal_seeds()[None], 50_001)[0] for _ in range(2))
    with seeded(5):
        again = normal_of(normal_seeds()[None], 50_001)[0]
    assert torch.equal(one, again) and not torch.equal(one, two)
    assert stats.kstest(one.numpy(), "norm").pvalue > 1e-3
    pairs = [(one[:-lag], one[lag:]) for lag in (1, 2, 25_000, 25_001)]
    for a, b in [*pairs, (one, two), (one**2, two**2)]:
        assert abs(np.corrcoef(a.numpy(), b.numpy())[0, 1]) < 0.02
