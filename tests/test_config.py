import pytest

from hascodesign.board.boards import BOARDS
from hascodesign.contract.errors import ConfigError
from hascodesign.flow.config import board_config, load_config


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_every_board_has_a_flow_file_that_names_it(board):
    config = load_config(board_config(board), {})
    assert config.board == board
    assert config.array.spec().pe * config.array.spec().simd <= BOARDS[board].dsp


def test_pynq_z2_default_is_the_documented_array():
    spec = load_config(board_config("pynq-z2"), {}).array.spec()
    assert (spec.pe, spec.simd, spec.weight_bits, spec.act_bits, spec.acc_bits) == (16, 8, 4, 8, 24)
    assert spec.product_bits == 13


GOOD = """board = "x"
[array]
pe = 1
simd = 1
weight_bits = 4
act_bits = 4
acc_bits = 16
[faults]
faulty_pes = 0
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("board = 3", "board: Input should be a valid string, not 3"),
        (GOOD + "sede = 1", "faults.sede is no key of a flow file"),
        ('board = "x"\n[array]\npe = 0', "array.pe: Input should be greater than or equal to 1"),
        ('board = "x"\n[array]\npe = true', "array.pe: Input should be a valid integer, not True"),
        ("board = ", "must be TOML"),
        (
            GOOD + "[schedule]\nmoves = ['sign', 'sign']",
            "schedule.moves: Value error, each must stand once",
        ),
    ],
)
def test_bad_flow_files_are_one_line(tmp_path, text, words):
    path = tmp_path / "f.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_options_lie_over_the_file():
    config = load_config(board_config("pynq-z2"), {"array.pe": 8, "seed": 5, "model": None})
    assert (config.array.pe, config.seed, config.model) == (8, 5, "digits-cnn")


def test_missing_flow_file(tmp_path):
    with pytest.raises(ConfigError, match="flow file must be readable"):
        load_config(tmp_path / "none.toml", {})
