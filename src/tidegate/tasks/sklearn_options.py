"""Options as scikit-learn's searches, pipelines and clones handle them.

Source: scikit-learn's guide "Developing scikit-learn estimators".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from tidegate.errors import InputError
from tidegate.training.options import TrainingOptions


@dataclass(kw_only=True, eq=False, repr=False)
class SklearnOptions(TrainingOptions):
    """Options by name: read, changed, and shown where they are not as by default."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """All options by name; options are not nested, so ``deep`` has no effect."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Change options by name.  Raises InputError for a name that is not an option."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise InputError(
                    f"expected an option of {type(self).__name__}, got {name!r}; "
                    f"its options are {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._changed().items())
        return f"{type(self).__name__}({shown})"

    def _changed(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default}

    def __sklearn_is_fitted__(self) -> bool:
        return "runtime_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's searches and pipelines ask; only scikit-learn calls it."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        classifier = hasattr(self, "predict_proba")
        return Tags(
            estimator_type="classifier" if classifier else None,
            target_tags=TargetTags(required=classifier),
            classifier_tags=ClassifierTags() if classifier else None,
            input_tags=InputTags(two_d_array=False, string=True),
        )
