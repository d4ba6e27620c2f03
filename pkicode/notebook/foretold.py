"""A forecast in the hands of Python: shown as text, or taken apart as a frame."""

from typing import TYPE_CHECKING

from attrs import frozen

from pkicode.model.extras import framed
from pkicode.notebook.told import mended
from pkicode.project.foresight import Forecast
from pkicode.views.forecast import human

if TYPE_CHECKING:
    from pandas import DataFrame


@frozen(repr=False)
class Foretold:
    """Every coming action up to an instant, as an apply a day would do them."""

    forecast: Forecast
    """The forecast as data."""

    @property
    def df(self) -> "DataFrame":
        """One row per coming action; docs/reference/frames.md has the columns."""
        with mended(), framed():
            from pkicode.frames.forecast import forecast_frame

        return forecast_frame(self.forecast.rows)

    def __repr__(self) -> str:
        return human(self.forecast)
