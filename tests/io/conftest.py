"""Makes small DICOM series that a scanner could have made."""

from collections.abc import Callable

import numpy as np
import pytest

from support.dicom_series import write_series as _write_series


@pytest.fixture
def write_series() -> Callable[..., np.ndarray]:
    return _write_series
