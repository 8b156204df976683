import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.inject.enum import FloatToIntImplType
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8Bias,
    Int8BiasPerTensorFloatInternalScaling,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFixedPoint,
)
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.types import IntegerNetwork, MaxPool, Shift, Thresholds
from hascodesign.models.integer import accumulator_bits, compare, integerise
from tests.model_cases import (
    IMAGE,
    conv,
    dense,
    images,
    last,
    pixels,
    power_of_two,
    relu,
    settle,
    settled,
)


def equal(model: nn.Module, **options: int) -> IntegerNetwork:
    """The model's integer graph, after it has shown no difference to the model."""
    network = integerise(model, "small", IMAGE, **options)
    held = images()
    found = compare(model, network, held)
    assert found.differences == (0,) * (len(network.layers) + 1)
    assert found.layers == ("input", *(layer.name for layer in network.layers))
    assert all(n >= len(held.labels) for n in found.compared)
    assert found.logit_residual < 1e-6
    return network


def every_v(layers: list[nn.Module], unit: np.ndarray, scale: float, bits: int) -> tuple:
    """Every v of `bits` bits, [R, N], and its code by the layers themselves in float64."""
    v = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    out = torch.from_numpy(v[:, None] * unit)
    with torch.no_grad():
        for layer in layers:
            shaped = out[:, :, None, None] if isinstance(layer, nn.BatchNorm2d) else out
            out = layer(shaped)
            out = getattr(out, "value", out).reshape(v.size, -1)
    codes = np.rint(out.numpy() / scale).astype(np.int64)
    return np.broadcast_to(v, (len(unit), v.size)), codes.T


def test_convolutions_with_stride_padding_and_pool_equal_brevitas():
    model = settled(
        pixels(),
        conv(2, 7, (3, 2), stride=(1, 2), padding=(2, 1)),
        nn.BatchNorm2d(7),
        relu(),
        nn.Dropout2d(0.3),
        conv(7, 5, 2, padding=1),
        nn.BatchNorm2d(5),
        relu(3),
        nn.MaxPool2d((3, 2), stride=(2, 1)),
        nn.Flatten(),
        nn.Dropout(0.3),
        last(5 * 4 * 3),
    )
    network = equal(model)
    first, second, pool, end = network.stages
    assert [layer.name for layer in network.layers] == ["conv0", "conv1", "dense2"]
    assert first.conv.in_shape == (6, 5, 2)
    assert first.conv.out_size == (8, 3)
    assert (first.in_bits, first.in_signed, first.out_bits, first.out_signed) == (8, True, 4, False)
    assert (second.in_bits, second.in_signed, second.out_bits) == (4, False, 3)
    assert second.output.values.shape == (5, 7)
    assert pool == MaxPool((3, 2), (2, 1), (9, 4, 5))
    assert (end.output, end.out_bits, end.weight_bits) == (None, 0, 4)
    assert network.in_shape == (6, 5, 2)
    assert not first.weights.flags.writeable


def test_weights_run_y_x_channel():
    model = settled(pixels(), conv(2, 3, (2, 3)), relu(), nn.Flatten(), last(3 * 5 * 3))
    network = integerise(model, "order", IMAGE)
    kernel = model[1].quant_weight().int().numpy()
    dense_weights = model[4].quant_weight().int().numpy()
    first, end = network.layers
    for ky, kx, channel in ((0, 0, 1), (1, 2, 0), (0, 1, 1)):
        k = (ky * 3 + kx) * 2 + channel
        assert (first.weights[:, k] == kernel[:, channel, ky, kx]).all()
    for channel, y, x in ((2, 0, 0), (0, 4, 1), (1, 2, 2)):
        torch_k, k = (channel * 5 + y) * 3 + x, (y * 3 + x) * 3 + channel
        assert (end.weights[:, k] == dense_weights[:, torch_k]).all()


def test_same_padding_and_flatten_before_the_input_quantiser():
    equal(settled(pixels(), conv(2, 4, 3, padding="same"), relu(), nn.Flatten(), last(120)))
    model = settled(nn.Flatten(), pixels(), dense(60, 6), nn.BatchNorm1d(6), relu(2), last(6))
    assert [layer.name for layer in equal(model).layers] == ["dense0", "dense1"]


def test_pool_of_the_images():
    model = settled(pixels(), nn.MaxPool2d(2), conv(2, 4, 2), relu(), nn.Flatten(), last(8))
    assert isinstance(equal(model).stages[0], MaxPool)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_unsigned_and_signed_activations_of_every_width(bits):
    unsigned = settled(
        pixels(), conv(2, 6, 3, bits=8), nn.BatchNorm2d(6), relu(bits), nn.Flatten(), last(72)
    )
    layer = equal(unsigned).layers[0]
    assert (layer.out_bits, layer.out_signed, layer.output.lowest) == (bits, False, 0)
    assert layer.weight_bits == 8
    if bits == 1:
        return
    signed = settled(
        pixels(), conv(2, 6, 3), nn.BatchNorm2d(6), pixels(bits), nn.Flatten(), last(72)
    )
    layer, after = equal(signed).layers
    assert (layer.out_signed, layer.output.lowest) == (True, -(2 ** (bits - 1)))
    assert (after.in_signed, after.in_bits) == (True, bits)


def test_binary_weights_take_two_bits():
    model = settled(
        pixels(),
        nn.Flatten(),
        dense(60, 8, bits=1, weight_quant=SignedBinaryWeightPerTensorConst),
        nn.BatchNorm1d(8),
        qnn.QuantIdentity(SignedBinaryActPerTensorConst, return_quant_tensor=True),
        last(8),
    )
    layer, after = equal(model).layers
    assert set(np.unique(layer.weights)) == {-1, 1}
    assert layer.weight_bits == 2
    assert (after.in_bits, after.in_signed) == (2, True)


@pytest.mark.parametrize("kind", ["relu", "signed"])
def test_thresholds_hold_for_every_value_of_the_accumulator(kind):
    norm, act = nn.BatchNorm2d(6), relu(3) if kind == "relu" else pixels(3)
    model = settled(pixels(), conv(2, 6), norm, act, nn.Flatten(), last(72))
    gamma = [1.5, -0.7, 0.0, 1e-9, -1e-9, 0.2]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(gamma))
        norm.bias.copy_(torch.tensor([0.1, 0.2, 5.0, -0.3, 9.0, -20.0]))
    output = equal(model, acc_bits=16).layers[0].output
    assert isinstance(output, Thresholds)
    assert output.descending.tolist() == [False, True, False, False, True, False]
    twin = model.double()
    unit = (
        twin[0].act_quant.scale() * twin[1].quant_weight().scale.reshape(-1)
    ).detach().numpy()  # fmt: skip
    v, codes = every_v([norm, act], unit, float(act.act_quant.scale()), 17)
    assert (arithmetic.output_codes(output, v) == codes).all()
    # a constant channel: each threshold is always or never passed
    assert set(output.values[2].tolist()) <= {-(2**16), 2**16}
    assert set(output.values[4].tolist()) <= {2**16 - 1, -(2**16) - 1}


def test_never_and_always_lie_just_outside_the_range_of_v():
    norm = nn.BatchNorm2d(4)
    model = settled(pixels(), conv(2, 4), norm, pixels(3), nn.Flatten(), last(48))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.0, 0.0, -1e-12, -1e-12]))
        norm.bias.copy_(torch.tensor([1e4, -1e4, 1e4, -1e4]))
    values = integerise(model, "ends", IMAGE, acc_bits=20).layers[0].output.values
    assert (values[0] == -(2**20)).all()
    assert (values[1] == 2**20).all()
    assert (values[2] == 2**20 - 1).all()
    assert (values[3] == -(2**20) - 1).all()


def test_norm_without_affine_parameters_and_two_norms():
    norms = [nn.BatchNorm2d(5, affine=False), nn.BatchNorm2d(5)]
    graph = equal(settled(pixels(), conv(2, 5), *norms, relu(), nn.Flatten(), last(60)))
    assert graph.layers[0].rows == 5 and len(graph.layers) == 2
    model = settled(
        pixels(), conv(2, 5), nn.BatchNorm2d(5), relu(), nn.BatchNorm2d(5), pixels(4),
        nn.Flatten(), last(60),
    )  # fmt: skip
    assert len(equal(model).layers) == 2  # both norms folded away


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_power_of_two_scales_give_a_shift_that_rounds_half_to_even(signed, bias):
    model = power_of_two(signed=signed, bias=bias)
    layer = equal(model, acc_bits=16).layers[0]
    assert isinstance(layer.output, Shift)
    assert layer.output.shift > 0
    assert (layer.output.low, layer.output.high) == ((-8, 7) if signed else (0, 15))
    assert layer.bias.any() == bias
    act = model.double()[3]
    scale = float(act.act_quant.scale())
    v, codes = every_v([act], np.full(5, scale / 2**layer.output.shift), scale, 17)
    assert (arithmetic.output_codes(layer.output, v) == codes).all()
    ties = (np.array([1, 3, 5]) << layer.output.shift) >> 1
    assert arithmetic.output_codes(layer.output, ties).tolist() == [0, 2, 2]


def test_power_of_two_scales_that_truncate_give_thresholds():
    act = relu(4, Uint8ActPerTensorFixedPoint, float_to_int_impl_type=FloatToIntImplType.FLOOR)
    fixed = {"weight_quant": Int8WeightPerTensorFixedPoint}
    model = settled(
        pixels(8, Int8ActPerTensorFixedPoint), nn.Flatten(), dense(60, 5, **fixed), act, last(5)
    )
    assert isinstance(equal(model).layers[0].output, Thresholds)


def test_pool_before_the_activation_moves_behind_it():
    norm = nn.BatchNorm2d(5)
    model = settled(
        pixels(), conv(2, 5, padding=1), nn.MaxPool2d(2), norm, relu(), nn.Flatten(), last(30)
    )
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 0.0, 1.0, 2.0, 0.1]))
    network = equal(model)
    assert isinstance(network.stages[1], MaxPool)
    # behind the norm the pool sees either sign, and may stay where it is
    model = settled(
        pixels(), conv(2, 5, padding=1), nn.BatchNorm2d(5), nn.MaxPool2d(2), relu(), nn.Flatten(),
        last(30),
    )  # fmt: skip
    assert (model[2].weight < 0).any()
    equal(model)


def test_real_bias_of_a_hidden_layer_goes_into_the_thresholds():
    model = settled(pixels(), conv(2, 5, bias=True), relu(), nn.Flatten(), last(60))
    layer = equal(model).layers[0]
    assert not layer.bias.any()
    assert isinstance(layer.output, Thresholds)
    quantised = {"bias": True, "bias_quant": Int8BiasPerTensorFloatInternalScaling}
    layer = equal(
        settled(pixels(), conv(2, 5, **quantised), relu(), nn.Flatten(), last(60))
    ).layers[0]
    assert not layer.bias.any()


def test_integer_bias_stays_one():
    model = settled(
        pixels(), conv(2, 5, bias=True, bias_quant=Int8Bias), relu(), nn.Flatten(), last(60)
    )
    network = equal(model)
    assert network.layers[0].bias.any()
    assert network.layers[1].bias.any()
    out = model[0](torch.zeros(1, *IMAGE))
    golden = model[1].bias_quant(model[1].bias, out, model[1].quant_weight()).int()
    assert network.layers[0].bias.tolist() == golden.tolist()


def test_plain_tensors_between_layers_and_a_model_class():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant = qnn.QuantIdentity(Int8ActPerTensorFloat)
            self.features = nn.Sequential(conv(2, 4), nn.BatchNorm2d(4), qnn.QuantReLU(bit_width=3))
            self.flatten = nn.Flatten()
            self.classifier = last(48, bias=False, bias_quant=None)

        def forward(self, x):
            return self.classifier(self.flatten(self.features(self.quant(x))))

    network = equal(settle(Net()))
    assert not network.layers[-1].bias.any()


def test_the_model_itself_is_left_as_it_was():
    model = settled(pixels(), conv(2, 4), relu(), nn.Flatten(), last(48))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    integerise(model, "same", IMAGE)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_compare_counts_differences():
    model = settled(pixels(), conv(2, 4), nn.BatchNorm2d(4), relu(), nn.Flatten(), last(48))
    network = integerise(model, "wrong", IMAGE)
    first, end = network.layers
    weights = first.weights.copy()
    weights[0, 0] += 1
    wrong = IntegerNetwork(
        "wrong",
        network.input,
        network.in_shape,
        (
            type(first)(**{f: getattr(first, f) for f in first.__slots__} | {"weights": weights}),
            end,
        ),
        network.logit_scale,
    )
    found = compare(model, wrong, images())
    assert found.differences[0] == 0
    assert 0 < found.differences[1] <= 40 * 12  # one row of four
    assert found.total == sum(found.differences)
    # an accumulator too narrow for the layer shows as well
    assert compare(model, network, images(), acc_bits=6).total > 0
    assert compare(model, network, images(), acc_bits=24).total == 0


def test_brevitas_accuracy_counts_correct_images():
    model = settled(pixels(), nn.Flatten(), last(60))
    held = images()
    found = compare(model, integerise(model, "one", IMAGE), held)
    with torch.no_grad():
        classes = model.double()(torch.from_numpy(held.images.astype(np.float64))).argmax(1)
    assert found.brevitas_correct == int((classes.numpy() == held.labels).sum())


def test_accumulator_bits_bound_the_worst_input():
    model = settled(
        pixels(), nn.Flatten(), dense(60, 4, weight_quant=Int8WeightPerTensorFloat), relu(), last(4)
    )
    network = integerise(model, "bits", IMAGE)
    first, end = network.layers
    assert (first.in_signed, end.in_signed) == (True, False)
    x = np.where(first.weights > 0, 127, -128)
    most = int((first.weights * x).sum(axis=1).max())
    y = np.where(first.weights > 0, -128, 127)
    least = int((first.weights * y).sum(axis=1).min())
    bits = accumulator_bits(network)[0]
    assert -(2 ** (bits - 1)) <= least
    assert most < 2 ** (bits - 1)
    assert most >= 2 ** (bits - 2) or least < -(2 ** (bits - 2))
