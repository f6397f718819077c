"""What the tasks of an encoder and a decoder share: their network, and what it has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.errors import InputError
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.tasks.architectures import need_memory
from tidegate.tasks.estimator import Estimator

if TYPE_CHECKING:
    from tidegate.nn.encoder_decoder import EncoderDecoderNetwork
    from tidegate.runtime.connectivity import Connectivity
    from tidegate.runtime.inspection import Inspection
    from tidegate.runtime.stream import Stream


@dataclass(kw_only=True, eq=False, repr=False)
class TwoNetworks(Estimator):
    """An encoder that reads a source to its end, and a decoder that then answers."""

    def inspect(self, x: Any) -> Inspection:
        """What every gate of the encoder does while it reads one source: as for other tasks."""
        from tidegate.runtime.inspection import inspected

        return inspected(self.runtime_.source, *self._read_one(x))

    def connectivity(self, x: Any) -> Connectivity:  # noqa: ARG002
        """None: answers are written by a second network, after the first.  Raises InputError."""
        raise InputError(
            "expected a model of one network, got an encoder and a decoder; what its answers look "
            "at is shown by attend and plot_attention, where it has attention"
        )

    def stream(self, batch_size: int | None = None) -> Stream:  # noqa: ARG002
        """No stream: an answer begins when its source is known to the end.  Raises InputError."""
        raise InputError(
            "expected a model that answers while it reads, got one that reads a source to its end "
            "first; give whole sources to predict"
        )

    def initial_network(self, architecture: Any) -> Any:
        """The network that training begins with, from the seed."""
        import torch

        from tidegate.nn.encoder_decoder import EncoderDecoderNetwork

        need_memory(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return EncoderDecoderNetwork(architecture, **self._initial(architecture))

    @property
    def network_(self) -> EncoderDecoderNetwork:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The trained network as a torch module of its own, in evaluation mode on the CPU.

        To predict with weights that were changed in torch, set it: ``model.network_ = network``.
        """
        from tidegate.nn.arrays import torch_network

        return torch_network(self.runtime_.architecture, self.runtime_.tensors)

    @network_.setter
    def network_(self, network: EncoderDecoderNetwork) -> None:
        from tidegate.nn.arrays import network_on_arrays

        self.runtime_: EncoderDecoderRuntime = network_on_arrays(network)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
