"""An estimator for people: in a notebook, as a table, and how its training went, in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.errors import InputError
from tidegate.tasks.saved import Saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Shown(Saved):
    """An estimator that shows its network and its training."""

    gradients_: list[dict[str, Any]]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from tidegate.tasks.summary import as_html

        learned = None
        if self.__sklearn_is_fitted__():
            learned = self.runtime_.architecture, self.metrics_, self.provenance_
        return as_html(type(self).__name__, self.TASK, self._changed(), learned)

    def summary(self) -> None:
        """Print a table of the network's layers: output shapes and numbers of weights."""
        from tidegate.tasks.summary import summary_text

        print(summary_text(type(self).__name__, self.runtime_.architecture))

    def plot_history(self) -> list[Axes]:
        """Draw losses and figures over the training steps, with the step of the best weights.

        A notebook shows the picture, and so does ``plt.show()``; ``axes[0].figure.savefig`` saves
        it.  Raises InputError where there is no matplotlib.
        """
        from tidegate.training.curve import draw_history

        return draw_history(self.history_, int(self.provenance_["best_step"]), shown=True)

    def plot_gradients(self) -> list[Axes]:
        """Draw gradients during training by layer, and how much is left of them by distance.

        Of a model that was just fitted with ``gradient_norms``; ``gradients_`` has the figures, a
        dict for each evaluation.  Raises InputError for another, and as ``plot_history``.
        """
        from tidegate.training.gradient_watch import draw_gradients

        if not getattr(self, "gradients_", None):
            raise InputError(
                "expected a model that was fitted with it, got one without; fit it again, since a "
                "model file keeps no gradients",
                option="gradient_norms",
            )
        return draw_gradients(self.gradients_, shown=True)

    def history_frame(self) -> DataFrame:
        """``history_`` as a pandas frame, a row for each evaluation.  Raises InputError without."""
        from tidegate.output.html_tables import data_frame

        return data_frame(self.history_)
