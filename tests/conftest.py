"""What every test stands on: no configuration from the caller's environment, no deadline (machines are shared)."""

import os

from hypothesis import HealthCheck, settings

for variable in [name for name in os.environ if name.startswith("PKICODE_")] + ["NO_COLOR", "FORCE_COLOR"]:
    os.environ.pop(variable, None)

settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
