"""RNN, LSTM and GRU against torch.nn, the reference and their own invariants."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tidegate as tg
from tidegate.nn import functional

# torch says once what explain() says of every such layer
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

PAIRS = {
    "rnn_tanh": (torch.nn.RNN, tg.RNN, {}),
    "rnn_relu": (torch.nn.RNN, tg.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, tg.LSTM, {}),
    "lstm_projected": (torch.nn.LSTM, tg.LSTM, {"proj_size": 3}),
    "gru": (torch.nn.GRU, tg.GRU, {}),
}
OURS = {name: (cls, options) for name, (_, cls, options) in PAIRS.items()}
OURS["gru_reset_before"] = (tg.GRU, {"reset": "before"})
SHAPES = list(
    itertools.product(
        [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], [{}, {"batch_first": True}]
    )
)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}  # the promise of the layers


def twins(name, dtype=torch.float64, **options):
    theirs_cls, ours_cls, extra = PAIRS[name]
    torch.manual_seed(0)
    theirs = theirs_cls(5, 7, **extra, **options, dtype=dtype)
    ours = ours_cls(5, 7, **extra, **options, dtype=dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(layer, batch, dtype):
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = layer.proj_size or 7, 7
    parts = [torch.randn(layers, batch, n, dtype=dtype, requires_grad=True) for n in sizes]
    return tuple(parts) if isinstance(layer, torch.nn.LSTM | tg.LSTM) else parts[0]


def results_and_gradients(layer, x, state, **kwargs):
    """Every output and every gradient of a loss that weighs them all differently."""
    x = x.clone().requires_grad_()
    y, final = layer(x, state, **kwargs)
    data = y.data if isinstance(y, torch.nn.utils.rnn.PackedSequence) else y
    outputs = [data, *flat(final)]
    loss = sum(
        (o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype, device=o.device).view_as(o)).sum()
        for o in outputs
    )
    inputs = [x, *(flat(state) if state is not None else ()), *layer.parameters()]
    return outputs + list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("options", "order"), SHAPES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_equal_torch_nn(name, options, order, dtype):
    theirs, ours = twins(name, dtype, **options, **order)
    x = torch.randn((3, 6, 5) if order else (6, 3, 5), dtype=dtype)
    state = random_state(theirs, 3, dtype)
    for given_state in (None, state):
        expected = results_and_gradients(theirs, x, given_state)
        got = results_and_gradients(ours, x, given_state)
        for g, e in zip(got, expected, strict=True):
            torch.testing.assert_close(g, e, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", PAIRS)
def test_reference_path_equals_torch_nn(name, monkeypatch):
    theirs, ours = twins(name, num_layers=2, bidirectional=True)
    monkeypatch.setattr(functional, "choose_path", lambda *_: ("reference", "asked for"))
    x, state = torch.randn(6, 3, 5, dtype=torch.float64), random_state(theirs, 3, torch.float64)
    expected = results_and_gradients(theirs, x, state)
    for g, e in zip(results_and_gradients(ours, x, state), expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_seed_gives_torch_nns_weights(name):
    theirs_cls, ours_cls, extra = PAIRS[name]
    torch.manual_seed(3)
    theirs = theirs_cls(4, 6, 2, **extra, bidirectional=True)
    torch.manual_seed(3)
    ours = ours_cls(4, 6, 2, **extra, bidirectional=True)
    for (n, a), (m, b) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        assert n == m
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", PAIRS)
def test_one_unbatched_sequence_equals_torch_nn(name):
    theirs, ours = twins(name, num_layers=2)
    x = torch.randn(6, 5, dtype=torch.float64)
    (y, h), (y2, h2) = theirs(x), ours(x)
    torch.testing.assert_close(y2, y)
    torch.testing.assert_close(flat(h2), flat(h))


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_packed_sequence_in_packed_sequence_out(name, enforce_sorted):
    theirs, ours = twins(name, num_layers=2, bidirectional=True)
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    lengths = torch.tensor([6, 4, 1] if enforce_sorted else [4, 6, 1])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    state = random_state(theirs, 3, torch.float64)
    (y, h), (y2, h2) = theirs(packed, state), ours(packed, state)
    torch.testing.assert_close(y2.data, y.data)
    torch.testing.assert_close(pad_packed_sequence(y2)[0], pad_packed_sequence(y)[0])
    torch.testing.assert_close(flat(h2), flat(h))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (n, p)
        for n in OURS
        for p in ("torch", "reference")
        if (n, p) != ("gru_reset_before", "torch")
    ],
)
def test_a_ragged_row_is_as_if_it_were_alone(name, path, monkeypatch):
    """Outputs, final state and gradients; length 0 gives zeros and the initial state."""
    monkeypatch.setattr(functional, "choose_path", lambda *_: (path, "asked for"))
    cls, extra = OURS[name]
    torch.manual_seed(0)
    layer = cls(5, 7, num_layers=2, bidirectional=True, **extra, dtype=torch.float64)
    lengths = [3, 0, 6, 1]
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    state = random_state(layer, 4, torch.float64)
    x.requires_grad_()
    y, final = layer(x, state, lengths=lengths)
    (gradient,) = torch.autograd.grad(y.square().sum() + sum(f.sum() for f in flat(final)), x)
    for b, n in enumerate(lengths):
        alone_state = tuple(s[:, b : b + 1] for s in flat(state))
        assert (y[n:, b] == 0).all()
        assert (gradient[n:, b] == 0).all()
        if n == 0:
            for f, s in zip(flat(final), alone_state, strict=True):
                torch.testing.assert_close(f[:, b : b + 1], s)
            continue
        row = x[:n, b : b + 1].detach().requires_grad_()
        y1, final1 = layer(row, alone_state if len(alone_state) > 1 else alone_state[0])
        torch.testing.assert_close(y[:n, b : b + 1], y1)
        for f, f1 in zip(flat(final), flat(final1), strict=True):
            torch.testing.assert_close(f[:, b : b + 1], f1)
        loss = y1.square().sum() + sum(f.sum() for f in flat(final1))
        torch.testing.assert_close(gradient[:n, b : b + 1], torch.autograd.grad(loss, row)[0])


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(0, 7), steps=st.integers(0, 7), batch=st.integers(1, 3))
def test_cutting_a_sequence_changes_nothing(name, cut, steps, batch):
    cls, extra = OURS[name]
    layer = cls(3, 4, num_layers=2, **extra, dtype=torch.float64)
    x = torch.randn(steps, batch, 3, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:cut])
    second, state = layer(x[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(flat(state), flat(final))


@pytest.mark.parametrize("name", OURS)
def test_streaming_equals_the_whole_sequence(name):
    cls, extra = OURS[name]
    layer = cls(3, 4, num_layers=2, **extra, dtype=torch.float64)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    whole, final = layer(x)
    state, outputs = None, []
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs), whole)
    torch.testing.assert_close(flat(state), flat(final))


@pytest.mark.parametrize("name", OURS)
def test_backward_reads_the_reversed_sequence(name):
    cls, extra = OURS[name]
    both = cls(3, 4, bidirectional=True, **extra, dtype=torch.float64)
    alone = cls(3, 4, **extra, dtype=torch.float64)
    reverse = {k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if "_rev" in k}
    alone.load_state_dict(reverse)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    outputs = both.state_sizes[0]
    torch.testing.assert_close(both(x)[0][:, :, outputs:], alone(x.flip(0))[0].flip(0))


@pytest.mark.parametrize("name", OURS)
def test_gradients_and_second_gradients_of_the_reference(name, monkeypatch):
    monkeypatch.setattr(functional, "choose_path", lambda *_: ("reference", "asked for"))
    cls, extra = OURS[name]
    torch.manual_seed(5)
    layer = cls(2, 4, **extra, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([3, 1])
    run = lambda x: layer(x, lengths=lengths)[0]  # noqa: E731
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("name", OURS)
def test_recurrent_dropout_is_one_mask_per_sequence_and_off_in_evaluation(name):
    cls, extra = OURS[name]
    extra = {option: 48 if option == "proj_size" else value for option, value in extra.items()}
    layer = cls(3, 64, recurrent_dropout=0.5, **extra)
    x = torch.randn(4, 2, 3)
    torch.manual_seed(1)
    first = layer(x)[0]
    torch.manual_seed(1)
    assert torch.equal(layer(x)[0], first)
    assert not torch.equal(layer(x)[0], first)
    layer.eval()
    plain = cls(3, 64, **extra)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], plain(x)[0])
    # a unit that the mask hides reaches nothing at any step: its recurrent column gets no gradient
    layer.train()
    layer(x[:, :1])[0].sum().backward()
    hidden = (layer.weight_hh_l0.grad == 0).all(0)
    assert 8 < int(hidden.sum()) < 56


def test_dropout_acts_between_layers_in_training_only():
    layer = tg.GRU(3, 16, num_layers=2, dropout=0.5)
    x = torch.randn(4, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


GRU = tg.GRU(5, 7)
X = torch.zeros(6, 3, 5)
WRONG = {
    "rank": (lambda: GRU(X[0, 0]), ValueError, r"expected \[T, B, I\] or \[T, I\], got \[5\]"),
    "width": (lambda: GRU(X[..., :4]), RuntimeError, "input_size = 5 in its last dimension"),
    "dtype": (lambda: GRU(X.double()), ValueError, "input: expected torch.float32 .* got .*64"),
    "device": (lambda: GRU(X.to("meta")), RuntimeError, r"call input.to\('cpu'\)"),
    "type": (lambda: GRU([1.0]), TypeError, "input: expected a torch.Tensor, got list"),
    "state": (lambda: GRU(X, X[:1]), RuntimeError, r"h0: .* = \[1, 3, 7\], got \[1, 3, 5\]"),
    "pair": (lambda: tg.LSTM(5, 7)(X, X), TypeError, r"expected the tuple \(h0, c0\)"),
    "lengths": (lambda: GRU(X, lengths=[1, 2]), ValueError, r"lengths: expected \[B\] = \[3\]"),
    "range": (lambda: GRU(X, lengths=[1, 2, 9]), ValueError, "expected 0 to T = 6, got 1 to 9"),
    "float": (lambda: GRU(X, lengths=[1.0, 2, 3]), TypeError, "lengths: expected integers"),
    "size": (lambda: tg.GRU(5, 0), ValueError, "hidden_size: expected at least 1, got 0"),
    "reset": (lambda: tg.GRU(5, 7, reset="x"), ValueError, "expected 'after' or 'before'"),
    "dropout": (lambda: tg.GRU(5, 7, dropout=2), ValueError, r"a probability in \[0, 1\], got 2"),
    "flag": (lambda: tg.GRU(5, 7, 1, 0.5), TypeError, "bias: expected True or False, got float"),
    "projection": (lambda: tg.LSTM(5, 7, proj_size=7), ValueError, "less than hidden_size = 7"),
    "stream": (
        lambda: tg.GRU(5, 7, bidirectional=True).step(X[0]), ValueError, "got bidirectional=True",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


def test_explain_names_the_path_and_the_reason():
    assert tg.GRU(5, 7).explain() == "engine: the engine's gru kernels"
    projected = tg.LSTM(5, 7, proj_size=3, dtype=torch.float64).explain()
    assert projected.startswith("torch: torch's own lstm kernel, because the engine ")
    double = tg.LSTM(5, 7, recurrent_dropout=0.1, dtype=torch.float64)
    assert "torch has no kernel with recurrent dropout" in double.explain()
    assert double.explain().endswith("so plain torch operations run, step by step")
    told = double.eval().explain()
    assert told.startswith("torch: torch's own lstm kernel, because the engine computes")


def test_strict_forbids_the_slow_path_and_says_why():
    options = {"recurrent_dropout": 0.1, "strict": True, "dtype": torch.float64}
    layer = tg.GRU(5, 7, **options)
    with pytest.raises(RuntimeError, match="strict: expected a fused path.*computes in float32"):
        layer(X.double())
    layer.eval()(X.double())  # without the mask torch has a kernel
    layer.float().train()(X)
    layer(X[:0])  # nothing to compute is nothing slow


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", OURS)
def test_rows_that_are_all_empty_keep_their_state_and_have_gradients_of_zero(name, dtype):
    cls, options = OURS[name]
    layer = cls(5, 7, **options, bidirectional=True, dtype=dtype)
    x, state = torch.randn(6, 3, 5, dtype=dtype), random_state(layer, 3, dtype)
    y, *final, dx = results_and_gradients(layer, x, state, lengths=[0, 0, 0])[
        : 2 + len(flat(state))
    ]
    assert not y.any()
    assert not dx.any()
    for after, before in zip(final, flat(state), strict=True):
        assert torch.equal(after, before)
