"""The driver's very files on the simulated core."""

import numpy as np
import pytest

from hascodesign.contract.types import FaultProfile
from tests import core_cases, driver_cases


@pytest.mark.slow
def test_the_driver_on_the_simulated_core(tmp_path):
    network, spec = driver_cases.small()
    schedule = core_cases.identity(network, spec)
    profile = FaultProfile(spec)
    codes = core_cases.images(np.random.default_rng(2), network, 4)
    plan = core_cases.build(network, schedule, profile)
    driver_cases.lay_out(tmp_path, network, schedule, profile, codes, plan)
    done = driver_cases.run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
